"""When each slot was last asked for: in memory at once, in the database in batches.

A request is a manifest, a read or a touch. Nothing on the way of a request writes to a disk:
a round of housekeeping writes what was touched since, the longest ago first and at most
``BATCH`` at a time, so that its cost stays bounded however many requests come. What a crash
forgets is the last round or two; an orderly end forgets nothing.
"""

from collections.abc import Mapping
from datetime import datetime

from cache_server.catalogue.registry import Key, Registry
from cache_server.core.recency import Moment, restate, stepped
from cache_server.service.clocks import Clocks
from cache_server.service.library import Library
from cache_server.service.slot import Slot

BATCH = 5000  # stamps that one round writes: 25 ms of a core, benchmarks/policy.py


class Requests:
    """Stamps of all slots. Every call with the service's lock held, but for ``write``."""

    def __init__(
        self, registry: Registry, library: Library, slots: Mapping[Key, Slot], clocks: Clocks
    ) -> None:
        self._registry = registry
        self._library = library
        self._slots = slots
        self._clocks = clocks
        self._dirty: dict[Key, datetime] = {}  # the longest waiting first
        self._checked = clocks.moment()

    def touch(self, slot: Slot) -> None:
        """Count a request for ``slot``, now."""
        self._stamp(slot, self._clocks.moment())

    def note_reads(self) -> None:
        """Count what the data plane has served since the last call."""
        for generation, moment in self._library.take_reads():
            content = generation.content
            slot = self._slots.get(Key(content.tenant, content.pipeline))
            if slot is not None and (slot.asked is None or slot.asked.seconds < moment.seconds):
                self._stamp(slot, moment)

    def mind_the_clock(self) -> None:
        """Restate every stamp if somebody has set the wall clock since the last call.

        Elapsed time is not touched by that; but the process after this one has nothing but
        what the wall clock said.
        """
        now, before = self._clocks.moment(), self._checked
        self._checked = now
        if stepped(before, now):
            for slot in self._slots.values():
                if slot.asked is not None:
                    self._stamp(slot, restate(slot.asked, now))

    def forget(self, key: Key) -> None:
        """Drop what is not written of a pipeline that is gone."""
        self._dirty.pop(key, None)

    def take(self, limit: int | None) -> dict[Key, datetime]:
        """Return what has to be written, at most ``limit`` stamps; None: all of them."""
        if limit is None or len(self._dirty) <= limit:
            taken, self._dirty = self._dirty, {}
            return taken
        keys = list(self._dirty)[:limit]
        return {key: self._dirty.pop(key) for key in keys}

    def write(self, stamps: dict[Key, datetime]) -> None:
        """Write what was taken. Without the lock: a commit waits for the disk.

        Raises:
            DiskError: not written; ``put_back`` keeps it for the next round.
        """
        self._registry.touch(stamps)

    def put_back(self, stamps: dict[Key, datetime]) -> None:
        """Keep ``stamps`` for the next round; what came meanwhile is newer."""
        gone = [key for key in stamps if key not in self._slots]
        self._dirty = stamps | self._dirty
        for key in gone:
            self._dirty.pop(key, None)

    def _stamp(self, slot: Slot, moment: Moment) -> None:
        slot.asked = moment
        self._dirty[slot.registration.key] = moment.wall
