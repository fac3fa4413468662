"""Content goes because somebody asks for it: with its registration, or only from the disk.

What goes to make room is chosen in ``room``.
"""

import threading  # noqa: TC003 - as everywhere else in the service
from typing import Any

from cache_protocol.errors import SlotInUseError
from cache_server.catalogue.registry import Key, Registry
from cache_server.core.counted import Leaving
from cache_server.core.slots import SlotEvent
from cache_server.service.counters import Counters
from cache_server.service.departures import Departures
from cache_server.service.disk_watch import DiskWatch
from cache_server.service.inventory import Inventory
from cache_server.service.leases import Leases
from cache_server.service.pass_through import PassThrough
from cache_server.service.requests import Requests
from cache_server.service.room import Room
from cache_server.service.slot import end_work
from cache_server.service.views import plan_view


class Removal:
    """Takes content away. Safe for threads."""

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        lock: "threading.RLock",
        registry: Registry,
        inventory: Inventory,
        room: Room,
        departures: Departures,
        leases: Leases,
        passing: PassThrough,
        requests: Requests,
        counters: Counters,
        disk: DiskWatch,
    ) -> None:
        """Take the parts.

        Args:
            lock: the service's.
            registry: the database.
            inventory: what is known of each pipeline.
            room: marks and deletes, one eviction at a time.
            departures: what is on its way out.
            leases: who reads.
            passing: what is read but not kept.
            requests: when each was asked for last.
            counters: what went, and why.
            disk: refuses while it is sick.
        """
        self._lock = lock
        self._registry = registry
        self._inventory = inventory
        self._room = room
        self._departures = departures
        self._leases = leases
        self._passing = passing
        self._requests = requests
        self._counters = counters
        self._disk = disk

    def remove(self, key: Key, *, force: bool) -> int:
        """Forget a pipeline and delete its files; return the bytes freed.

        Raises:
            UnknownPipelineError: there is none.
            SlotInUseError: a replica reads it, and ``force`` is not set.
        """
        self._disk.check()
        with self._room.alone, self._lock:  # an eviction that is under way ends first
            slot = self._inventory.find(key)
            self._end_leases(key, force=force)
            self._registry.remove(key)
            slot.leaving = True
            self._passing.end(key)
            slot.happens(SlotEvent.EVICT)
        end_work(slot, self._lock)
        with self._lock:
            generations = self._departures.empty(slot)
        try:
            freed = self._departures.give_up(generations)
            self._counters.count_evicted(Leaving.REMOVED, 1, freed)
            return freed
        finally:
            with self._lock:
                slot.happens(SlotEvent.GONE)
                del self._inventory.slots[key]
                self._requests.forget(key)
                slot.over.set()

    def evict(self, key: Key, *, force: bool) -> int:
        """Delete what is kept of a pipeline, which stays registered; return the bytes freed.

        A fill that runs is ended. The next request pulls it from its source again. With
        ``force`` readers finish from the descriptors they have open and are told to ask anew.

        Raises:
            UnknownPipelineError: there is none.
            SlotInUseError: a replica reads it, and ``force`` is not set.
        """
        self._disk.check()
        while True:
            with self._lock:
                slot = self._inventory.find(key)
                self._check_readers(key, force=force)
                busy = slot.work is not None
            if busy:
                end_work(slot, self._lock)
            with self._room.alone:
                with self._lock:
                    slot = self._inventory.find(key)
                    if slot.work is not None:  # somebody asked for it meanwhile
                        continue
                    self._end_leases(key, force=force)
                    going = self._room.mark([slot])
                return self._room.delete([slot], going, Leaving.ASKED)

    def plan(self, need: int) -> dict[str, Any]:
        """Return who would go for a fill of ``need`` bytes; nothing happens."""
        slots = self._inventory.slots
        plan = self._room.plan(need)
        with self._lock:
            asked = {k: s.asked for k, s in slots.items()} if plan.victims else {}
            return plan_view(plan, asked, need=need, free=self._room.free)

    def _end_leases(self, key: Key, *, force: bool) -> None:
        """Take from all readers what they hold; SlotInUseError if that must be forced."""
        self._check_readers(key, force=force)
        self._leases.end(key)

    def _check_readers(self, key: Key, *, force: bool) -> None:
        readers = self._leases.readers(key)
        if readers and not force:
            replicas = "1 replica reads" if readers == 1 else f"{readers} replicas read"
            raise SlotInUseError(f"{replicas} {key.id}")
