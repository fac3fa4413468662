"""How a pipeline stands, in short: what a list of thousands of them shows of each.

Unlike a view it names no files, and it never touches the disk: a slot that nobody has looked at
since the start of the node says so instead.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.core.recency import Moment, is_hot
from cache_server.core.slots import SlotState
from cache_server.service.slot import LastError, Slot
from cache_server.service.views import eta_of
from cache_server.store.generation import Generation


@dataclass(frozen=True, slots=True)
class Fill:
    """What is on its way."""

    size: int | None  # bytes; None while the origin is being asked
    filled: int  # bytes that are there
    ends: datetime | None  # UTC, if it goes on as it went; None before its first byte


class Glance(NamedTuple):
    """One pipeline. A tuple, for a list makes thousands of them with the service's lock held."""

    key: Key
    models: tuple[ModelSpec, ...]
    state: SlotState
    looked_at: bool  # False: what lies of it on disk is not known yet
    warm: bool
    pinned: bool
    hot: bool
    hot_until: datetime | None  # UTC
    asked: datetime | None  # UTC, the last request
    size: int | None  # bytes of all files; None where nobody knows yet
    booked: int  # bytes of the node's room that it holds
    readers: int  # replicas that read it now
    fill: Fill | None  # also of a newer generation beside one that is warm
    error: LastError | None


@dataclass(frozen=True, slots=True)
class Now:
    """What the node knows besides the slot."""

    moment: Moment
    monotonic: float  # seconds
    hot_window: timedelta


def glance_at(slot: Slot, now: Now, *, booked: int, readers: int) -> Glance:
    """Return how ``slot`` stands. With the service's lock held."""
    shown = slot.current or slot.target
    return Glance(
        slot.registration.key,
        slot.registration.models,
        slot.state,
        looked_at=slot.loaded,
        warm=slot.current is not None,
        pinned=slot.registration.pinned,
        hot=is_hot(slot.asked, now.moment.seconds, now.hot_window),
        hot_until=slot.asked.wall + now.hot_window if slot.asked else None,
        asked=slot.asked.wall if slot.asked else None,
        size=_size(slot, shown),
        booked=booked,
        readers=readers,
        fill=_fill(slot, now),
        error=slot.last_error,
    )


def _size(slot: Slot, shown: Generation | None) -> int | None:
    content = shown.content if shown is not None else slot.content
    return None if content is None else content.size


def _fill(slot: Slot, now: Now) -> Fill | None:
    work = slot.work
    if work is None:
        return None
    generation = work.generation
    if generation is None:
        return Fill(None, 0, None)
    ends = eta_of(work, generation, now.moment.wall, now.monotonic)
    return Fill(generation.content.size, generation.filled, ends)
