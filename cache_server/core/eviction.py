"""Which slots to give up when a fill needs room.

Pure: the caller brings the clock and the table of slots, and does the deleting.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

NEVER = float("-inf")  # the last request of a slot that nobody has asked for yet


class SlotUse(NamedTuple):
    """What eviction needs to know about one slot.

    A tuple rather than a dataclass: a node makes 100 000 of them for one plan.
    """

    key: tuple[str, str]  # tenant, pipeline
    size: int  # bytes booked; 0 for a slot that has nothing on disk
    asked: float  # seconds on the boot clock; the last request, not the last write; or NEVER
    pinned: bool = False
    leases: int = 0  # replicas that read it now
    filling: bool = False  # a fill is on its way: half of it would go, the other half come
    whole: bool = True  # False: what a fill that failed left behind


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that no plan may touch, by reason. A slot may be held for several reasons."""

    hot: int = 0
    pinned: int = 0
    leased: int = 0
    filling: int = 0


@dataclass(frozen=True, slots=True)
class EvictionPlan:
    """Whom to give up, coldest first, and what that leaves undone."""

    victims: tuple[SlotUse, ...] = ()
    freed: int = 0  # bytes
    shortfall: int = 0  # bytes no permitted eviction can free; above 0 there are no victims
    held: Held = Held()  # counted only where there is a shortfall: it is the reason for it


def plan_eviction(
    slots: Iterable[SlotUse], *, need: int, now: float, hot_window: timedelta
) -> EvictionPlan:
    """Choose the least recently requested permitted slots that free at least ``need`` bytes.

    Never those requested within ``hot_window``, pinned, read or being filled. Of equally old
    slots what is not whole goes first, since nothing is served from it; then by key, so equal
    inputs give equal plans. When all permitted slots together are not enough, nothing is
    evicted: losing warm pipelines would not admit the new one.

    Args:
        slots: every slot of the node, in any order.
        need: bytes to free; 0 or less needs nobody.
        now: seconds on the boot clock, as ``SlotUse.asked``.
        hot_window: a slot that was asked for exactly so long ago is still hot.
    """
    if need <= 0:
        return EvictionPlan()
    coldest_hot = now - hot_window.total_seconds()
    slots = list(slots)
    permitted = [s for s in slots if s.asked < coldest_hot and _may_go(s)]
    victims, freed = [], 0
    for slot in _coldest_first(permitted):
        victims.append(slot)
        freed += slot.size
        if freed >= need:
            return EvictionPlan(tuple(victims), freed)
    return EvictionPlan(shortfall=need - freed, held=_held(slots, coldest_hot))


class Plans(NamedTuple):
    """Whom of its own a tenant gives up, and whom the node gives up besides."""

    own: EvictionPlan
    others: EvictionPlan  # not looked for where ``own`` falls short


def plan_for_tenant(  # noqa: PLR0913 - all by name
    slots: Iterable[SlotUse],
    *,
    tenant: str,
    own_need: int,
    need: int,
    now: float,
    hot_window: timedelta,
) -> Plans:
    """Choose as ``plan_eviction``: ``own_need`` bytes of ``tenant``, then what ``need`` lacks yet.

    A tenant at the end of its quota makes room among what is its own; what goes there is free for
    the node as well.
    """
    slots = list(slots)
    of_tenant = (s for s in slots if s.key[0] == tenant)
    own = plan_eviction(of_tenant, need=own_need, now=now, hot_window=hot_window)
    if own.shortfall:
        return Plans(own, EvictionPlan())
    going = set(own.victims)
    left = (s for s in slots if s not in going) if going else slots
    others = plan_eviction(left, need=need - own.freed, now=now, hot_window=hot_window)
    return Plans(own, others)


def _may_go(slot: SlotUse) -> bool:
    return slot.size > 0 and not (slot.pinned or slot.leases or slot.filling)


def _coldest_first(slots: list[SlotUse]) -> Iterator[SlotUse]:
    # By one float first: sorting 100 000 slots by a tuple takes three times as long, and slots
    # of one age are few. benchmarks/policy.py
    for _, same_age in groupby(sorted(slots, key=_asked), key=_asked):
        yield from sorted(same_age, key=lambda s: (s.whole, s.key))


_asked = attrgetter("asked")


def _held(slots: list[SlotUse], coldest_hot: float) -> Held:
    return Held(
        hot=sum(s.size for s in slots if s.asked >= coldest_hot),
        pinned=sum(s.size for s in slots if s.pinned),
        leased=sum(s.size for s in slots if s.leases),
        filling=sum(s.size for s in slots if s.filling),
    )
