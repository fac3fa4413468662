"""The replica agent: a pipeline's verified weights in memory before the engine asks for them.

Reading order: ``core`` (what is decided, pure) · ``ports`` (where bytes land) and ``lending`` (what
of it is handed over) · ``arenas`` · ``settings`` · ``client`` (the control call) · ``reasons`` (why
one failed) · ``trust`` and ``secure`` (TLS: whom to believe, and bytes through it) · ``connection``
and ``lanes`` (bytes off the wire) · ``local`` (bytes of a node on this host) · ``transfer`` (one
generation on its way) · ``verdicts`` with ``provenance`` (files that the node cannot confirm) ·
``recovery`` (failures) · ``crew`` (its threads) · ``pull`` (all of it together) · ``files``,
``contents``, ``views``, ``readiness`` (which tensors are whole) and ``tensors`` (what callers get)
· ``report`` · ``plans`` (what each rank of an engine reads) · ``handover`` (memory to an engine's
process) · ``engines`` (vLLM, and any that reads files) · ``children`` (what they are told) ·
``origin`` and ``fetch`` (around the cache) · ``boot`` (an engine's start, from the first request to
its end) · ``process`` (when it began) · ``__main__``.

``open_pipeline`` is the way in for Python. It is imported on first use, because the agent's own
start must not wait for what only tensors need.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from replica_agent.tensors import open_pipeline

__all__ = ["open_pipeline"]


def __getattr__(name: str) -> object:
    if name != "open_pipeline":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from replica_agent.tensors import open_pipeline  # noqa: PLC0415 - see above

    return open_pipeline
