"""What a caller is shown of a pipeline: the contract's JSON, nothing secret in it."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.core.eviction import EvictionPlan, SlotUse
from cache_server.core.recency import Moment, is_hot
from cache_server.service.slot import Slot, Work
from cache_server.store.generation import Generation

# What a view repeats of a registration where it was said.
_SAID = ("revision", "include", "exclude", "credentials", "allow_pickle", "allow_code")


def pipeline_view(
    slot: Slot, *, now: Moment, monotonic: float, hot_window: timedelta
) -> dict[str, Any]:
    """Return ``slot`` as ``GET /v1/pipelines/{id}`` shows it."""
    registration = slot.registration
    return {
        "id": registration.key.id,
        "tenant": registration.key.tenant,
        "models": [_model_view(m, slot.current or slot.target) for m in registration.models],
        "cache": _cache_view(slot, now, monotonic, hot_window),
    }


def plan_view(
    plan: EvictionPlan, asked: Mapping[Key, Moment | None], *, need: int, free: int
) -> dict[str, Any]:
    """Return ``plan`` as ``GET /v1/eviction-plan`` shows it."""
    return {
        "need": need,
        "free": free,
        "victims": [_victim_view(v, asked.get(Key(*v.key))) for v in plan.victims],
        "freed": plan.freed,
        "shortfall": plan.shortfall,
        "held": asdict(plan.held),
    }


def _victim_view(victim: SlotUse, asked: Moment | None) -> dict[str, Any]:
    tenant, pipeline = victim.key
    return {
        "id": pipeline,
        "tenant": tenant,
        "size": victim.size,
        "last_request": stamp(asked.wall if asked else None),
    }


def stamp(instant: datetime | None) -> str | None:
    """Return ``instant`` as RFC 3339 with a Z."""
    return None if instant is None else instant.isoformat().replace("+00:00", "Z")


def _cache_view(slot: Slot, now: Moment, monotonic: float, hot_window: timedelta) -> dict[str, Any]:
    shown = slot.current or slot.target
    view: dict[str, Any] = {
        "state": slot.state.value,
        "warm": slot.current is not None,
        "pinned": slot.registration.pinned,
        "hot": is_hot(slot.asked, now.seconds, hot_window),
        "hot_until": stamp(slot.asked.wall + hot_window if slot.asked else None),
        "size": shown.content.size if shown else None,
        "filled": shown.filled if shown else 0,
        "generation": shown.id if shown else None,
        "last_request": stamp(slot.asked.wall if slot.asked else None),
        "repaired_chunks": slot.repaired,
        "scrubbed": stamp(slot.scrubbed),
    }
    if slot.current is not None and slot.current.restricted:
        standing = slot.current.standing
        view["access"] = {"confirmed": stamp(standing.confirmed), "denied": standing.denied}
    if slot.last_error is not None:
        view["last_error"] = slot.last_error.view()
    view |= _fill_view(slot, now.wall, monotonic)
    return view


def _fill_view(slot: Slot, now: datetime, monotonic: float) -> Mapping[str, Any]:
    work = slot.work
    if work is None:
        return {}
    if work.generation is None:  # its origins are being asked
        unknown = {"generation": None, "size": None, "filled": 0}
        return {} if slot.current is None else {"next": unknown}
    eta = stamp(eta_of(work, work.generation, now, monotonic))
    if slot.current is None:
        return {"eta": eta} if eta else {}
    generation = work.generation
    following = {
        "generation": generation.id,
        "size": generation.content.size,
        "filled": generation.filled,
    }
    return {"next": following | ({"eta": eta} if eta else {})}


def eta_of(work: Work, generation: Generation, now: datetime, monotonic: float) -> datetime | None:
    """Return when the fill ends if it goes on as it went; None before its first byte."""
    came, took = generation.filled - work.began_with, monotonic - work.began_at
    if came <= 0 or took <= 0:
        return None
    left = generation.content.size - generation.filled
    return now + timedelta(seconds=round(left * took / came, 1))


def _model_view(spec: ModelSpec, generation: Generation | None) -> dict[str, Any]:
    view: dict[str, Any] = {"name": spec.name, "source": spec.source}
    for name in _SAID:
        if value := getattr(spec, name):
            view[name] = list(value) if isinstance(value, tuple) else value
    resolved = generation and next(
        (m for m in generation.content.models if m.name == spec.name), None
    )
    if generation and resolved:
        view["resolved"] = resolved.revision
        view["files"] = list(_file_views(generation, spec.name))
        view["left_out"] = [asdict(each) for each in resolved.left_out]
    return view


def _file_views(generation: Generation, model: str) -> Iterator[dict[str, Any]]:
    for file in generation.files:
        if file.model == model:
            yield {
                "path": file.origin.path,
                "size": file.size,
                "filled": file.map.filled,
                "sha256": file.sha256.hex() if file.sha256 else file.origin.sha256,
                "verified": file.sha256 is not None,
            }
