"""Every call of the control plane, as functions of values; HTTP is somewhere else.

A replica's way: ``ensure`` (warm: at once; cold: one fill, others join) → ``grant`` a lease →
the data plane finds the generation in the ``library``. A door's, before that: ``contents`` (what
there is to read). An operator's: ``pipelines`` (what is registered), ``removal`` (what goes),
``figures`` (what is shown).
"""

import threading
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from cache_protocol.errors import CacheError, OriginChangedError
from cache_protocol.manifest import Lease
from cache_server.catalogue.registry import Key, Registry
from cache_server.core.counted import Found, Purpose
from cache_server.core.ledger import Ledger
from cache_server.core.standing import RULES, Rules
from cache_server.core.tenants import QuotasOf, no_quotas
from cache_server.ports import OpenOrigin
from cache_server.service.access_watch import AccessWatch
from cache_server.service.clocks import Clocks
from cache_server.service.contents import Contents
from cache_server.service.counters import Counters
from cache_server.service.departures import Departures
from cache_server.service.disk_watch import DiskWatch
from cache_server.service.ending import Ending
from cache_server.service.figures import Figures
from cache_server.service.fill_turns import FillTurns
from cache_server.service.filling import Filling
from cache_server.service.housekeeping import Housekeeping
from cache_server.service.inventory import Inventory
from cache_server.service.leases import Leases
from cache_server.service.library import Library, Readable
from cache_server.service.pass_through import PassThrough
from cache_server.service.pipelines import Pipelines
from cache_server.service.reading_plans import ReadingPlans
from cache_server.service.removal import Removal
from cache_server.service.requests import Requests
from cache_server.service.room import Room
from cache_server.service.scrub import Scrub, Target, scrub_name
from cache_server.service.slot import Slot
from cache_server.service.watched_origins import WatchedOrigins
from cache_server.store.generation import Generation
from cache_server.store.root import Root


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator decides about the policy."""

    capacity: int  # bytes
    hot_window: timedelta
    region: str
    scrub_rate: int = 100_000_000  # bytes per second
    quotas: QuotasOf = no_quotas  # of a tenant
    access: Rules = RULES  # when hubs are asked again what may be read


class Service:
    """The node's one service. Safe for threads."""

    def __init__(
        self,
        root: Root,
        registry: Registry,
        open_origin: OpenOrigin,
        options: Options,
        clocks: Clocks,
    ) -> None:
        self.library = Library(clocks.moment)
        self.leases = Leases(clocks.now, clocks.monotonic)
        self.options = options
        self._root = root
        self._registry = registry
        self._clocks = clocks
        self._ledger = Ledger(options.capacity)
        self._lock = lock = threading.RLock()
        self.counters = Counters()
        open_origin = WatchedOrigins(open_origin, self.counters)
        self._ending = Ending()
        self._disk = DiskWatch(root.probe, lambda why: self._house.disk_changed(why))  # noqa: PLW0108 - made below
        by_key: dict[Key, Slot] = {}  # the inventory's; others look into it
        self._requests = Requests(registry, self.library, by_key, clocks)
        self._departures = Departures(lock, root, self._ledger, self.library)
        self._room = Room(
            lock=lock,
            root=root,
            ledger=self._ledger,
            departures=self._departures,
            slots=by_key,
            leases=self.leases,
            requests=self._requests,
            counters=self.counters,
            clocks=clocks,
            hot_window=options.hot_window,
            limit_of=lambda tenant: options.quotas(tenant).bytes,
        )
        self._filling = Filling(
            lock=lock,
            root=root,
            room=self._room,
            counters=self.counters,
            departures=self._departures,
            library=self.library,
            open_origin=open_origin,
            clocks=clocks,
            disk=self._disk,
            turns=FillTurns(lambda tenant: options.quotas(tenant).fills),
        )
        self._inventory = Inventory(
            by_key,
            lock=lock,
            root=root,
            registry=registry,
            ledger=self._ledger,
            clocks=clocks,
            serve=self._filling.serve,
        )
        self.access = AccessWatch(
            lock=lock,
            inventory=self._inventory,
            open_origin=open_origin,
            leases=self.leases,
            clocks=clocks,
            rules=options.access,
        )
        self.library.refusal = self.access.refusal
        pulled = partial(self.counters.count_pulled, purpose=Purpose.PASS_THROUGH)
        self._passing = PassThrough(self.library, open_origin, pulled, clocks.monotonic)
        self._scrub = Scrub(
            root.path / "scrub.json",
            self._whole_slots,
            rate=options.scrub_rate,
            now=clocks.now,
            monotonic=clocks.monotonic,
        )
        self._filling.unreadable = self._scrub.suspect
        self._house = Housekeeping(
            lock=lock,
            root=root,
            inventory=self._inventory,
            filling=self._filling,
            departures=self._departures,
            leases=self.leases,
            passing=self._passing,
            requests=self._requests,
            scrub=self._scrub,
            disk=self._disk,
            clocks=clocks,
            hot_window=options.hot_window,
            ending=self._ending,
        )
        self.pipelines = Pipelines(
            lock=lock,
            registry=registry,
            inventory=self._inventory,
            filling=self._filling,
            departures=self._departures,
            disk=self._disk,
            clocks=clocks,
            quotas=options.quotas,
            warm=self._house.proactive.ask,
        )
        self.removal = Removal(
            lock=lock,
            registry=registry,
            inventory=self._inventory,
            room=self._room,
            departures=self._departures,
            leases=self.leases,
            passing=self._passing,
            requests=self._requests,
            counters=self.counters,
            disk=self._disk,
        )
        self.contents = Contents(
            lock=lock,
            inventory=self._inventory,
            filling=self._filling,
            access=self.access,
            passing=self._passing,
        )
        self.plans = ReadingPlans(self.contents.kept, self._disk, clocks.now)
        self.figures = Figures(
            lock=lock,
            inventory=self._inventory,
            requests=self._requests,
            room=self._room,
            leases=self.leases,
            clocks=clocks,
            hot_window=options.hot_window,
            parts=self._of_parts,
        )

    def start(self) -> None:
        """Look at what lies on disk, resume what was half filled; both in the background."""
        self._house.start()
        self._disk.start()
        self.access.start()

    def drain(self) -> None:
        """Take no new reader, and end the fills that nobody reads; readers go on.

        May wait for the lock, which a disk that hangs may hold; nobody new comes in meanwhile.
        """
        self._ending.drain()
        self._house.proactive.close()
        self._filling.stop_unheld(self.leases.held())

    def end_fills(self) -> None:
        """End fills, and tell all who wait for them; their chunks are kept."""
        self._ending.closing.set()
        self._house.proactive.close()
        self.pipelines.close()
        self._filling.reconciled.set()
        self._filling.stop()
        self._passing.close()

    def close(self) -> None:
        """End fills, write down touches, give everything back."""
        self.end_fills()
        self.access.close()
        self._house.close()
        self._scrub.close()
        self._disk.close()
        self._house.flush()
        self._registry.close()

    @property
    def reconciled(self) -> bool:
        """Whether all that lies on disk has been looked at."""
        return self._filling.reconciled.is_set()

    @property
    def unready(self) -> str | None:
        """Why no new work should be sent here now; None when it should."""
        if self.draining:
            return "draining: the node is about to stop"
        sickness = self._disk.sickness
        if sickness is not None:
            return f"the disk is sick: {sickness}"
        return None if self.reconciled else "looking at what lies on disk"

    @property
    def draining(self) -> bool:
        """Whether the node is about to stop and takes no new reader."""
        return self._ending.draining

    def check_admission(self) -> None:
        """Refuse new readers and new fills if the node is about to stop; DrainingError."""
        self._ending.check_admission()

    @property
    def closing(self) -> bool:
        """Whether the node ends: whoever only watches is told no more."""
        return self._ending.closing.is_set()

    def ensure(self, key: Key) -> "Future[Generation]":
        """Return the generation to read, as soon as its names and sizes are known.

        A cold slot is filled; everyone who asks meanwhile joins that one fill. Counts as a
        request for the hot window.

        Raises:
            UnknownPipelineError: there is no such pipeline.
            OriginError: what is kept may not be read any more, see ``access_watch``.
            QuotaError: too many fills of its tenant wait for their turn.
            DrainingError: the node is about to stop. Whatever else goes wrong is raised by the
                future.
        """
        self.check_admission()
        with self._lock:
            slot = self._inventory.find(key)
            if slot.current is not None:
                self.access.check(slot.current)
            self._requests.touch(slot)
            self.counters.count_found(_found(slot))
            if slot.current is not None:
                ready: Future[Generation] = Future()
                ready.set_result(slot.current)
                return ready
            if slot.work is None or slot.work.stopped.is_set():
                self._disk.check()
                self._filling.check_turn(slot)
            return self._filling.begin(slot).opened

    def warm_now(self, key: Key) -> Generation | None:
        """Return the generation of a warm slot without any lock; None: ask ``ensure``.

        For an event loop, which must not wait for somebody who waits for a disk. Counts as a
        request. The slot may be on its way out in this very moment: then its reader is told so
        at the data plane, and asks again.
        """
        slot = None if self.draining else self._inventory.known_slot(key)
        generation = None if slot is None or slot.leaving else slot.current
        if generation is None or self.access.refusal(generation) is not None:
            return None
        self.library.note_read(generation)
        self.counters.hits += 1
        return generation

    def pass_through(self, key: Key, refused: CacheError) -> Readable:
        """Return what a replica reads of a pipeline that ``ensure`` ``refused`` to keep.

        It comes from the origin through this node, unless the pipeline could be kept meanwhile.

        Raises:
            CacheError: ``refused``, where nobody knows what the pipeline consists of; or the
                origin's content has moved, and the next ``ensure`` resolves it afresh.
        """
        with self._lock:
            slot = self._inventory.find(key)
            if slot.current is not None:
                self.access.check(slot.current)
                return slot.current
            opened = slot.work.generation if slot.work is not None else None
            # The disk of one that failed may still hold its threads.
            if opened is not None and opened.progress.failure is None:
                return opened
            if slot.content is None:
                raise refused
            self.counters.count_found(Found.PASS_THROUGH)
            try:
                return self._passing.serve(slot.content, refused, slot.registration.terms)
            except OriginChangedError:
                self._filling.forget_target(slot)
                raise

    def warm(self, key: Key, *, refresh: bool) -> None:
        """Make sure that a fill runs if one is needed; with ``refresh`` ask the origins anew.

        Raises:
            CapacityError: its size is known, and there is no room for it.
            QuotaError: the same, within what its tenant may take; or too many fills of it wait.
            DrainingError: the node is about to stop.
        """
        self.check_admission()
        with self._lock:
            slot = self._inventory.find(key)
            if slot.current is None or refresh:
                self._disk.check()
                if not refresh:
                    self._filling.check_room(slot)
                self._filling.check_turn(slot)
                self._filling.begin(slot, refresh=refresh)

    def grant(self, key: Key, generation: Readable) -> Lease:
        """Hold ``generation`` for a reader.

        Raises:
            DrainingError: the node is about to stop.
        """
        self.check_admission()
        return self.leases.grant(key, generation.id)

    def renew(self, lease: str) -> Lease:
        """Hold for another term; whoever renews still reads, so it counts as a request.

        Raises:
            GenerationGoneError: the lease ran out, was given back, or its content was evicted.
        """
        renewed, key = self.leases.renew(lease), self.leases.holder(lease)
        with self._lock:
            slot = self._inventory.slots.get(key) if key is not None else None
            if slot is not None:
                self._requests.touch(slot)
        return renewed

    def held(self, lease: str) -> Readable | None:
        """Return the generation that ``lease`` holds, also one that was replaced; None: ended."""
        generation = self.leases.generation(lease)
        return None if generation is None else self.library.get(generation)

    def touch(self, key: Key) -> None:
        """Count a request for the hot window."""
        with self._lock:
            self._requests.touch(self._inventory.find(key, load=False))

    def scrub(self, pipeline: Key | None) -> dict[str, Any]:
        """Have every byte of ``pipeline`` on disk checked and repaired, None: of all of them.

        Raises:
            UnknownPipelineError: there is none.
        """
        if pipeline is not None:
            with self._lock:
                self._inventory.find(pipeline)
        return self._scrub.ask(None if pipeline is None else scrub_name(pipeline))

    def _of_parts(self) -> dict[str, Any]:
        """Return what of the node's status is not about pipelines."""
        with self._lock:
            used, free = self._ledger.used, self._ledger.free
        return {
            "region": self.options.region,
            "capacity": self.options.capacity,
            "used": used,
            "free": free,
            "disk_free": self._root.disk_free,
            "passing_through": self._passing.count,
            "origin_streams": self._passing.streams,
            "origin_bytes": self.counters.pulled,
            "repaired_chunks": self.counters.repaired,
            "lost_files": self.counters.lost,
            "scrub": self._scrub.view(),
            "disk_sick": self._disk.sickness,
            "draining": self.draining,
            "reconciled": self.reconciled,
        }

    def _whole_slots(self) -> list[Target]:
        with self._lock:
            return [
                Target(s, s.current)
                for s in self._inventory.slots.values()
                if s.current is not None
            ]


def _found(slot: Slot) -> Found:
    """Return how a question for a manifest meets ``slot``."""
    if slot.current is not None:
        return Found.HIT
    return Found.MISS if slot.work is None or slot.work.stopped.is_set() else Found.JOINED
