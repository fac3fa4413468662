"""Room for a generation: slots that the policy permits go first where it is short.

    plan      who would go, on a copy of the table, so that no request waits for it
    mark      under the lock, if everyone chosen is still as the plan saw them
    delete    without the lock; their room counts until their files are gone
    book      now it is there; nobody could take it meanwhile, since one fill at a time comes here

Capacity and the file system's own free space are two limits; a plan satisfies both. A tenant may
have a third, its quota: there its own slots go first, and nobody else's for it.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta

from cache_protocol.errors import CapacityError, QuotaError
from cache_protocol.units import show_size
from cache_server.catalogue.registry import Key
from cache_server.core.content import Content
from cache_server.core.counted import Leaving
from cache_server.core.eviction import (
    NEVER,
    EvictionPlan,
    Held,
    SlotUse,
    plan_eviction,
    plan_for_tenant,
)
from cache_server.core.ledger import Ledger, room
from cache_server.core.shares import LimitOf
from cache_server.core.slots import SlotEvent, SlotState
from cache_server.service.clocks import Clocks
from cache_server.service.counters import Counters
from cache_server.service.departures import Departures
from cache_server.service.leases import Leases
from cache_server.service.requests import Requests
from cache_server.service.slot import Slot
from cache_server.store.generation import Generation
from cache_server.store.root import Root

log = logging.getLogger(__name__)


class TenantFullError(QuotaError):
    """As much of a tenant is kept as may be; what is not kept can still pass through."""


class Room:
    """Books room, and makes it."""

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        lock: "threading.RLock",
        root: Root,
        ledger: Ledger,
        departures: Departures,
        slots: Mapping[Key, Slot],
        leases: Leases,
        requests: Requests,
        counters: Counters,
        clocks: Clocks,
        hot_window: timedelta,
        limit_of: LimitOf,
    ) -> None:
        # Held while room is made and given away, and while a slot is evicted. Taken before the
        # service's lock, never inside it.
        self.alone = threading.Lock()
        self._lock = lock
        self._root = root
        self._ledger = ledger
        self._departures = departures
        self._slots = slots
        self._leases = leases
        self._requests = requests
        self._counters = counters
        self._clocks = clocks
        self._hot_window = hot_window
        self._limit_of = limit_of  # bytes of one tenant

    def lay_out(self, generation: Generation) -> None:
        """Book ``generation`` and allocate its files; others go where that is permitted.

        Raises:
            CapacityError: there is no room, and giving up what may go would not be enough;
                nobody went. Or the disk was full although it said otherwise.
            TenantFullError: the same, within the quota of its tenant.
            DiskError: the disk failed.
        """
        if self._ledger.has(generation.id):  # it goes on
            generation.allocate()
            return
        with self.alone:
            self._make(generation)
            # Before the next one looks how much room the file system has.
            generation.allocate()

    def check(self, content: Content) -> None:
        """Refuse at once what there can be no room for; raises as ``lay_out``."""
        if not self._ledger.has(content.generation):
            self._victims(content.tenant, room([f.size for _, f in content.files()]))

    @property
    def free(self) -> int:
        """Bytes that fit now, by both limits."""
        return min(self._ledger.free, self._root.disk_free)

    def booked(self, slot: Slot) -> int:
        """Return the bytes that ``slot`` holds. With the service's lock held, or on a copy."""
        size, current, target = self._ledger.size, slot.current, slot.target
        booked = size(current.id) if current is not None else 0
        if target is not None and target is not current:
            booked += size(target.id)
        return booked

    def plan(self, need: int) -> EvictionPlan:
        """Return who would go for a fill of ``need`` bytes; nothing happens."""
        return plan_eviction(
            self._uses(),
            need=self._ledger.lack(need, disk_free=self._root.disk_free),
            now=self._clocks.boottime(),
            hot_window=self._hot_window,
        )

    def mark(self, slots: list[Slot]) -> list[Generation]:
        """Take all content out of ``slots``, which nothing fills; ``delete`` comes next.

        With the service's lock and ``alone`` held: the slots are cold again before anybody lays
        out anything.
        """
        for slot in slots:
            slot.happens(SlotEvent.EVICT)
            slot.last_error = None
        return [g for slot in slots for g in self._departures.empty(slot)]

    def delete(self, slots: list[Slot], going: list[Generation], why: Leaving) -> int:
        """Delete what ``mark`` took out; return the bytes freed. With ``alone`` held only.

        Raises:
            DiskError: something could not be deleted; it stays booked until the next start.
        """
        try:
            freed = self._departures.give_up(going)
        finally:
            with self._lock:
                for slot in slots:
                    _come_back(slot)
        self._counters.count_evicted(why, len(slots), freed)
        for slot in slots:
            facts = {**slot.named, "reason": why.value}
            log.info("%s was evicted", slot.registration.key.id, extra=facts)
        return freed

    def _make(self, generation: Generation) -> None:
        tenant, size = generation.content.tenant, generation.room
        self._departures.give_up_unheld(self._leases.held())
        while planned := self._victims(tenant, size):
            with self._lock:
                slots = self._as_planned(planned)
                going = self.mark(slots)
            if slots:
                self.delete(slots, going, Leaving.ROOM)
                break
        with self._lock:
            free = self._root.disk_free
            self._ledger.book(generation.id, size, tenant=tenant, disk_free=free)

    def _victims(self, tenant: str, size: int) -> tuple[SlotUse, ...]:
        """Return who goes for ``size`` bytes of ``tenant``; raises as ``lay_out``."""
        own, others = plan_for_tenant(
            self._uses(),
            tenant=tenant,
            own_need=self._excess(tenant, size),
            need=self._ledger.lack(size, disk_free=self._root.disk_free),
            now=self._clocks.boottime(),
            hot_window=self._hot_window,
        )
        if own.shortfall:
            raise self._full(tenant, size, own.held)
        if others.shortfall:
            raise _refusal(self._ledger.refusal(size, disk_free=self._root.disk_free), others.held)
        return own.victims + others.victims

    def _excess(self, tenant: str, size: int) -> int:
        """Return the bytes by which ``size`` more take ``tenant`` above its quota."""
        limit = self._limit_of(tenant)
        return 0 if limit is None else max(0, self._ledger.used_by(tenant) + size - limit)

    def _full(self, tenant: str, size: int, held: Held) -> TenantFullError:
        limit, used = self._limit_of(tenant) or 0, self._ledger.used_by(tenant)
        return TenantFullError(
            f"{show_size(size)} needed, and tenant {tenant} has {show_size(used)} of its quota of "
            f"{show_size(limit)}; of that may not go: {_words(held)}",
            needed=size,
            used=used,
            limit=limit,
            **asdict(held),
        )

    def _uses(self) -> list[SlotUse]:
        with self._lock:
            self._requests.note_reads()
            slots = list(self._slots.values())
        readers = self._leases.readers_by_key()
        return [self._use(slot, readers) for slot in slots]

    def _as_planned(self, planned: tuple[SlotUse, ...]) -> list[Slot]:
        """Return the slots of ``planned``; none if one has changed since: then plan anew.

        1. the plan is made on a copy   2. a replica asks for a victim   3. its stamp is no
        longer the planned one, so it stays. A lease always comes with a new stamp.
        """
        self._requests.note_reads()
        readers = self._leases.readers_by_key()
        slots = []
        for victim in planned:
            slot = self._slots.get(Key(*victim.key))
            if slot is None or self._use(slot, readers) != victim:
                return []
            slots.append(slot)
        return slots

    def _use(self, slot: Slot, readers: Mapping[Key, int]) -> SlotUse:
        key = slot.registration.key
        return SlotUse(
            key,
            self.booked(slot),
            NEVER if slot.asked is None else slot.asked.seconds,
            slot.registration.pinned,
            readers.get(key, 0),
            slot.work is not None or slot.state is SlotState.EVICTING,
            slot.current is not None,
        )


def _come_back(slot: Slot) -> None:
    """Take ``slot`` out of its eviction, to where those who asked for it meanwhile brought it.

    1. two slots are marked   2. the first one's files are deleted   3. a replica asks for the
    second, whose content is taken back, whole as it is   4. nothing of it is deleted.
    """
    slot.happens(SlotEvent.GONE)
    if slot.work is not None or slot.current is not None:
        slot.happens(SlotEvent.FILL)
    if slot.current is not None:
        slot.happens(SlotEvent.PUBLISHED)


def _refusal(error: CapacityError, held: Held) -> CapacityError:
    """Return ``error`` with what keeps the slots that are there from going."""
    numbers = {**error.numbers, **asdict(held)}
    return CapacityError(f"{error}; of what is there may not go: {_words(held)}", **numbers)


def _words(held: Held) -> str:
    return ", ".join(f"{show_size(size)} {reason}" for reason, size in asdict(held).items())
