"""What the node does unasked: bring memory in line with the disk, resume fills, write down, tidy.

Two threads, both over when the node ends.
"""

import logging
import threading
from datetime import timedelta

from cache_protocol.errors import CacheError, Retry
from cache_server.catalogue.registry import Key
from cache_server.core.eviction import NEVER
from cache_server.core.recency import is_hot
from cache_server.service.clocks import Clocks
from cache_server.service.departures import Departures
from cache_server.service.disk_watch import DiskWatch
from cache_server.service.ending import Ending
from cache_server.service.filling import Filling
from cache_server.service.inventory import Inventory
from cache_server.service.leases import Leases
from cache_server.service.pass_through import PassThrough
from cache_server.service.proactive import Proactive
from cache_server.service.requests import BATCH, Requests
from cache_server.service.scrub import Scrub
from cache_server.service.slot import Slot, Work
from cache_server.store.root import Root

log = logging.getLogger(__name__)

EVERY = 5.0  # seconds between two rounds: touches written, retired generations deleted


class Housekeeping:
    """Works in the background. Safe for threads."""

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        lock: "threading.RLock",
        root: Root,
        inventory: Inventory,
        filling: Filling,
        departures: Departures,
        leases: Leases,
        passing: PassThrough,
        requests: Requests,
        scrub: Scrub,
        disk: DiskWatch,
        clocks: Clocks,
        hot_window: timedelta,
        ending: Ending,
    ) -> None:
        """Take the parts.

        Args:
            lock: the service's.
            root: what lies on disk.
            inventory: what is known of each pipeline.
            filling: goes on with what is half filled.
            departures: deleted when nobody reads them any more.
            leases: who reads.
            passing: what is read but not kept; ended when idle.
            requests: written down in each round.
            scrub: begins when all has been looked at.
            disk: nothing is written while it is sick.
            clocks: what is hot.
            hot_window: how long a pipeline stays hot.
            ending: when to stop.
        """
        self._lock = lock
        self._root = root
        self._inventory = inventory
        self._filling = filling
        self._departures = departures
        self._leases = leases
        self._passing = passing
        self._requests = requests
        self._scrub = scrub
        self._disk = disk
        self._clocks = clocks
        self._hot_window = hot_window
        self._ending = ending
        self.proactive = Proactive(lock, self._begin_unasked)
        self.reconciling = threading.Thread(target=self._reconcile, name="reconcile")
        self._rounds = threading.Thread(target=self._keep_house, name="housekeeping")

    def start(self) -> None:
        """Look at what lies on disk, resume what was half filled; both in the background."""
        self.reconciling.start()
        self._rounds.start()

    def close(self) -> None:
        """Wait for both threads, which the ending told to stop."""
        self.reconciling.join()
        self._rounds.join()

    def resume(self) -> None:
        """Go on with what is half filled, and fill what was hot and is not whole."""
        self.proactive.ask(self._to_resume())

    def disk_changed(self, sickness: str | None) -> None:
        """End fills when the disk becomes sick, go on when it is well again."""
        if sickness is not None:
            self._filling.interrupt(sickness)
        elif self._filling.reconciled.is_set():
            try:
                self.resume()
            except (CacheError, OSError) as error:  # the watch over the disk must go on
                log.warning("fills do not go on by themselves: %s", error)

    def flush(self, limit: int | None = None) -> None:
        """Write down when what was asked for; at most ``limit`` stamps, None: all."""
        with self._lock:
            self._requests.note_reads()
            self._requests.mind_the_clock()
            stamps = self._requests.take(limit)
        try:
            self._requests.write(stamps)
        except CacheError:
            with self._lock:
                self._requests.put_back(stamps)
            raise

    def _reconcile(self) -> None:
        """Bring memory in line with the disk, drop what nobody registered, resume fills."""
        looks = (
            self._root.empty_trash,
            lambda: self._inventory.load_all(self._ending.closing),
            lambda: self._inventory.drop_unknown(self._ending.closing),
            self.resume,
        )
        for look in looks:
            try:
                look()
            except (CacheError, OSError) as error:
                # What could not be looked at stays for the next start. Fills wait for the end
                # of this, and what they need of the disk they check themselves.
                log.warning("looking at the disk: %s", error)
        self._filling.reconciled.set()
        self._scrub.start()

    def _to_resume(self) -> list[Key]:
        """Return what was hot and is not whole, and what was half filled; the latest first."""
        now, window = self._clocks.boottime(), self._hot_window
        with self._lock:
            slots = [
                slot
                for slot in self._inventory.slots.values()
                if _half_filled(slot) or (slot.current is None and is_hot(slot.asked, now, window))
            ]
        slots.sort(key=lambda s: s.asked.seconds if s.asked else NEVER, reverse=True)
        return [slot.registration.key for slot in slots]

    def _still_wanted(self) -> list[Key]:
        """Return what was read after its fill had failed, by readers that never ask for a fill.

        Those that a door sent to the data plane ask there again and again, until bytes come.
        """
        with self._lock:
            slots = list(self._inventory.slots.values())
            return [slot.registration.key for slot in slots if _was_read_in_vain(slot)]

    def _begin_unasked(self, key: Key) -> Work | None:
        """Begin a fill that no replica waits for, if there is something to fill."""
        slot = self._inventory.slots.get(key)
        if slot is None or slot.leaving or self._ending.closing.is_set() or self._ending.draining:
            return None
        self._inventory.load(slot)
        wanted = slot.current is None or _half_filled(slot)
        return self._filling.begin(slot) if wanted else None

    def _keep_house(self) -> None:
        while not self._ending.closing.wait(EVERY):
            try:
                self._disk.check()  # what hangs in it would hold the lock
                self.flush(BATCH)
                self._passing.end_idle(self._leases.held())
                self._departures.give_up_unheld(self._leases.held())
                self.proactive.ask(self._still_wanted())
            except (CacheError, OSError) as error:
                log.warning("housekeeping: %s; tried again in %.0f s", error, EVERY)


def _was_read_in_vain(slot: Slot) -> bool:
    failed, asked = slot.last_error, slot.asked
    if failed is None or asked is None or slot.work is not None or not _half_filled(slot):
        return False
    return failed.error.retry is not Retry.NEVER and asked.wall > failed.at


def _half_filled(slot: Slot) -> bool:
    return slot.target not in (None, slot.current) and slot.target.begun
