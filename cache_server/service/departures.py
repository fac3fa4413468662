"""Generations on their way out: known to nobody, then out of their slot, then gone.

    retired     replaced or evicted; its readers may finish
    left        one rename into the trash; what is open can be read on, unless it was lent
                to other processes: that is cut off, or they would keep its room
    gone        deleted; only now is its room free

Guarded by the service's lock, which is not held while files are deleted.
"""

import threading  # noqa: TC003 - as everywhere else in the service
from collections.abc import Iterable

from cache_server.core.ledger import Ledger
from cache_server.service.library import Library
from cache_server.service.slot import Slot
from cache_server.store.durable import delete
from cache_server.store.generation import Generation
from cache_server.store.root import Root


class Departures:
    """All generations that were retired and are not gone."""

    def __init__(
        self, lock: "threading.RLock", root: Root, ledger: Ledger, library: Library
    ) -> None:
        self._lock = lock
        self._root = root
        self._ledger = ledger
        self._library = library
        self._retired: list[Generation] = []

    def retire(self, *generations: Generation) -> None:
        """Take note that nobody new is given ``generations``. With the lock held."""
        self._retired += generations

    def empty(self, slot: Slot) -> list[Generation]:
        """Retire all content of ``slot``; return it. With the lock held."""
        generations = {g.id: g for g in (slot.current, slot.target) if g}
        slot.current = slot.target = None
        self._retired += generations.values()
        return list(generations.values())

    def take_back(self, generation: str) -> Generation | None:
        """Return a retired generation to its slot: its content is wanted again. With the lock."""
        found = next((g for g in self._retired if g.id == generation), None)
        if found is not None:
            self._retired.remove(found)
        return found

    def give_up(self, generations: Iterable[Generation]) -> int:
        """Delete those of ``generations`` that are retired; return the bytes freed.

        Without the lock: deleting takes its time.

        Raises:
            DiskError: what could not leave stays retired; what could not be deleted stays booked
                until the next start empties the trash.
        """
        return sum(self._give_up(g) for g in generations)

    def give_up_unheld(self, held: set[str]) -> int:
        """Delete retired generations that nobody in ``held`` reads; return the bytes freed."""
        with self._lock:
            over = [g for g in self._retired if g.id not in held]
        return self.give_up(over)

    def _give_up(self, generation: Generation) -> int:
        with self._lock:
            # Asked and moved under one lock: a resolution may have taken it back meanwhile, and
            # must not find what is about to go.
            if generation not in self._retired:
                return 0
            self._library.discard(generation)
            place = generation.leave(self._root.trash)
            self._retired.remove(generation)
        generation.end_loans(place)
        delete(place)
        with self._lock:
            return self._ledger.release(generation.id)
