"""What a caller is shown of the scrub: a pass over one pipeline names it, and it may be another's.

A pass over a pipeline that is not there for the caller is not there either. One over the whole
disk names nobody, and is shown to all.
"""

from collections.abc import Mapping
from typing import Any

from cache_server.core.access import ALL_TENANTS
from cache_server.http.access import Caller
from cache_server.service.scrub import key_of

View = Mapping[str, Any]


def shown_to(caller: Caller, view: View) -> dict[str, Any]:
    """Return ``view``, which the scrub gives of itself, as ``caller`` may see it."""
    identity = caller.identity
    if identity.acts_for(ALL_TENANTS) and identity.pipelines is None:
        return dict(view)
    passes = [each for each in _passes(view) if _is_there(caller, each["pipeline"])]
    answer: dict[str, Any] = {"running": bool(passes)}
    if passes:
        answer |= passes[0] | {"waiting": [each["pipeline"] for each in passes[1:]]}
    if "last" in view and _is_there(caller, view["last"]["pipeline"]):
        answer["last"] = view["last"]
    return answer


def _passes(view: View) -> list[dict[str, Any]]:
    """Return the pass that runs and those that wait, which have looked at nothing yet."""
    if not view["running"]:
        return []
    counts = ("checked", "wrong", "unrepaired")
    waiting = [{"pipeline": name, **dict.fromkeys(counts, 0)} for name in view["waiting"]]
    return [{name: view[name] for name in ("pipeline", *counts)}, *waiting]


def _is_there(caller: Caller, pipeline: str | None) -> bool:
    return pipeline is None or caller.reaches(key_of(pipeline))
