"""Every call of the control plane, as functions of values; HTTP is somewhere else.

A replica's way: ``ensure`` (warm: at once; cold: one fill, others join) → ``grant`` a lease →
the data plane finds the generation in the ``library``.
"""

import logging
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from cache_protocol.errors import (
    CacheError,
    DrainingError,
    OriginChangedError,
    SlotInUseError,
    UnknownPipelineError,
)
from cache_protocol.manifest import Lease
from cache_protocol.names import shown
from cache_server.catalogue.registry import Key, Registration, Registry
from cache_server.core.access import covers
from cache_server.core.content import ModelSpec
from cache_server.core.counted import Found, Leaving, Purpose
from cache_server.core.eviction import NEVER
from cache_server.core.ledger import Ledger
from cache_server.core.recency import is_hot
from cache_server.core.shares import check_share
from cache_server.core.slots import SlotEvent, SlotState
from cache_server.core.tenants import QuotasOf, no_quotas
from cache_server.ports import OpenOrigin
from cache_server.service.clocks import Clocks
from cache_server.service.counters import Counters
from cache_server.service.departures import Departures
from cache_server.service.disk_watch import DiskWatch
from cache_server.service.fill_turns import FillTurns
from cache_server.service.filling import Filling
from cache_server.service.glance import Glance, Now, glance_at
from cache_server.service.inventory import Inventory
from cache_server.service.leases import Leases
from cache_server.service.library import Library, Readable
from cache_server.service.pass_through import PassThrough
from cache_server.service.proactive import Proactive
from cache_server.service.registrations import check_registration
from cache_server.service.requests import BATCH, Requests
from cache_server.service.room import Room
from cache_server.service.scrub import Scrub, Target, scrub_name
from cache_server.service.slot import Slot, Work
from cache_server.service.views import pipeline_view, plan_view
from cache_server.service.watched_origins import WatchedOrigins
from cache_server.store.generation import Generation
from cache_server.store.root import Root

log = logging.getLogger(__name__)

HOUSEKEEPING = 5.0  # seconds between two rounds: touches written, retired generations deleted
MAX_MODELS = 100  # in one pipeline


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator decides about the policy."""

    capacity: int  # bytes
    hot_window: timedelta
    region: str
    scrub_rate: int = 100_000_000  # bytes per second
    quotas: QuotasOf = no_quotas  # of a tenant


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
        self._disk = DiskWatch(root.probe, self._disk_changed)
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
        self._proactive = Proactive(lock, self._begin_unasked)
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
        self._draining = threading.Event()
        self._closing = threading.Event()
        self._background = [
            threading.Thread(target=self._reconcile, name="reconcile"),
            threading.Thread(target=self._keep_house, name="housekeeping"),
        ]

    def start(self) -> None:
        """Look at what lies on disk, resume what was half filled; both in the background."""
        for thread in self._background:
            thread.start()
        self._disk.start()

    def drain(self) -> None:
        """Take no new reader, and end the fills that nobody reads; readers go on.

        May wait for the lock, which a disk that hangs may hold; nobody new comes in meanwhile.
        """
        self._draining.set()
        self._proactive.close()
        self._filling.stop_unheld(self.leases.held())

    def end_fills(self) -> None:
        """End fills, and tell all who wait for them; their chunks are kept."""
        self._closing.set()
        self._proactive.close()
        self._filling.reconciled.set()
        self._filling.stop()
        self._passing.close()

    def close(self) -> None:
        """End fills, write down touches, give everything back."""
        self.end_fills()
        for thread in self._background:
            thread.join()
        self._scrub.close()
        self._disk.close()
        self._flush()
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
        return self._draining.is_set()

    def check_admission(self) -> None:
        """Refuse new readers and new fills if the node is about to stop; DrainingError."""
        if self.draining:
            raise DrainingError("the node is being stopped and takes no new work; ask another node")

    @property
    def closing(self) -> bool:
        """Whether the node ends: whoever only watches is told no more."""
        return self._closing.is_set()

    # Registrations.

    def put(
        self,
        key: Key,
        models: tuple[ModelSpec, ...],
        *,
        pinned: bool | None,
        warm: bool = False,
        vouched: bool = False,
    ) -> bool:
        """Register a pipeline or change it; return whether it is new.

        ``vouched``: an admin does, so that its sources need not be listed for the tenant. That
        counts until somebody else changes a model.

        The origins are asked at once, in the background, which fixes moving revisions. Content
        that was resolved from other models is given up. ``warm`` has it filled at once, too.

        Raises:
            MalformedError: an id, name or source that cannot be one.
            QuotaError: it is new, and its tenant has as many as it may.
        """
        check_registration(key, models)
        new = self._register(Registration(key, models, vouched=vouched), pinned)
        if warm:
            self._proactive.ask([key])
        return new

    def stands(self, key: Key, models: tuple[ModelSpec, ...]) -> bool:
        """Whether ``key`` is registered with these ``models``, and an admin vouched for them."""
        with self._lock:
            slot = self._inventory.slots.get(key)
            was = None if slot is None or slot.leaving else slot.registration
        return was is not None and was.vouched and was.models == models

    def _register(self, wanted: Registration, pinned: bool | None) -> bool:  # noqa: FBT001
        with self._lock:
            old = self._inventory.slots.get(wanted.key)
            if old is None:
                self._create(replace(wanted, pinned=pinned or False))
                return True
            ending = _ending(old)
            replaced = ending is None and self._change(
                old, _continued(old.registration, wanted, pinned)
            )
        if ending is not None:
            ending.over.wait()
            return self._register(wanted, pinned)
        if replaced:
            self._retire_slot(old)
        return False

    def _create(self, registration: Registration) -> None:
        self._check_count(registration.key.tenant)
        self._disk.check()
        self._registry.put(registration, self._clocks.now())
        slot = Slot(registration, loaded=True)
        self._filling.resolve(slot)
        self._inventory.slots[registration.key] = slot

    def _check_count(self, tenant: str) -> None:
        if (limit := self.options.quotas(tenant).pipelines) is not None:
            used = sum(key.tenant == tenant for key in self._inventory.slots)
            check_share("pipelines", tenant, used, limit)

    def _change(self, old: Slot, registration: Registration) -> bool:
        """Take a changed registration; return whether the slot had to be replaced by a new one."""
        was = old.registration
        if registration != was:
            self._disk.check()
            self._registry.put(registration, self._clocks.now())
        self._inventory.load(old)
        if registration.spec == was.spec:
            old.registration = registration
            return False
        slot = Slot(registration, loaded=True, asked=old.asked, replaces=old)
        self._filling.resolve(slot)  # first: if it cannot begin, nobody waits for the old one's end
        self._inventory.slots[registration.key] = slot
        return True

    def _retire_slot(self, slot: Slot) -> None:
        """End what runs for a slot that was replaced; its readers may finish."""
        self._end_work(slot)
        with self._lock:
            self._departures.empty(slot)
            slot.over.set()

    def _end_work(self, slot: Slot) -> None:
        """Stop the attempt that runs for ``slot`` and wait until it is over. Without the lock."""
        with self._lock:
            work, resolving = slot.work, slot.resolving
            for each in (work, resolving):
                if each is not None:
                    each.stop()
        if work is not None:
            work.done.exception()  # how it ended does not matter, only that it did
        if resolving is not None:
            resolving.found.exception()

    def remove(self, key: Key, *, force: bool) -> int:
        """Forget a pipeline and delete its files; return the bytes freed.

        Raises:
            UnknownPipelineError: there is none.
            SlotInUseError: a replica reads it, and ``force`` is not set.
        """
        self._disk.check()
        with self._room.alone, self._lock:  # an eviction that is under way ends first
            slot = self._slot(key)
            self._end_leases(key, force=force)
            self._registry.remove(key)
            slot.leaving = True
            self._passing.end(key)
            slot.happens(SlotEvent.EVICT)
        self._end_work(slot)
        with self._lock:
            generations = self._departures.empty(slot)
        try:
            freed = self._departures.give_up(generations)
            self.counters.count_evicted(Leaving.REMOVED, 1, freed)
            return freed
        finally:
            with self._lock:
                slot.happens(SlotEvent.GONE)
                del self._inventory.slots[key]
                self._requests.forget(key)
                slot.over.set()

    def _end_leases(self, key: Key, *, force: bool) -> None:
        """Take from all readers what they hold; SlotInUseError if that must be forced."""
        self._check_readers(key, force=force)
        self.leases.end(key)

    def _check_readers(self, key: Key, *, force: bool) -> None:
        readers = self.leases.readers(key)
        if readers and not force:
            raise SlotInUseError(f"{readers} replicas are reading {key.id}")

    # Policy.

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
                slot = self._slot(key)
                self._check_readers(key, force=force)
                busy = slot.work is not None
            if busy:
                self._end_work(slot)
            with self._room.alone:
                with self._lock:
                    slot = self._slot(key)
                    if slot.work is not None:  # somebody asked for it meanwhile
                        continue
                    self._end_leases(key, force=force)
                    going = self._room.mark([slot])
                return self._room.delete([slot], going, Leaving.ASKED)

    def pin(self, key: Key, *, pinned: bool) -> dict[str, Any]:
        """Have the policy never evict a pipeline, or decide again; return its view."""
        with self._lock:
            slot = self._slot(key)
            registration = replace(slot.registration, pinned=pinned)
            if registration != slot.registration:
                self._disk.check()
                self._registry.put(registration, self._clocks.now())
                slot.registration = registration
            return self._view(slot)

    def eviction_plan(self, need: int) -> dict[str, Any]:
        """Return who would go for a fill of ``need`` bytes; nothing happens."""
        slots = self._inventory.slots
        plan = self._room.plan(need)
        with self._lock:
            asked = {k: s.asked for k, s in slots.items()} if plan.victims else {}
            return plan_view(plan, asked, need=need, free=self._room.free)

    # Requests.

    def ensure(self, key: Key) -> "Future[Generation]":
        """Return the generation to read, as soon as its names and sizes are known.

        A cold slot is filled; everyone who asks meanwhile joins that one fill. Counts as a
        request for the hot window.

        Raises:
            UnknownPipelineError: there is no such pipeline.
            QuotaError: too many fills of its tenant wait for their turn.
            DrainingError: the node is about to stop. Whatever else goes wrong is raised by the
                future.
        """
        self.check_admission()
        with self._lock:
            slot = self._slot(key)
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
        if generation is not None:
            self.library.note_read(generation)
            self.counters.hits += 1
        return generation

    def look_up(self, key: Key) -> "Future[Generation] | None":
        """Ask the origins what a pipeline consists of; None where that is known.

        However that ends: its content may be known although it could not be written down.

        Raises:
            UnknownPipelineError: there is no such pipeline.
            BusyError: the system has no thread left.
        """
        with self._lock:
            slot = self._slot(key)
            return None if slot.content or slot.current else self._filling.resolve(slot)

    def pass_through(self, key: Key, refused: CacheError) -> Readable:
        """Return what a replica reads of a pipeline that ``ensure`` ``refused`` to keep.

        It comes from the origin through this node, unless the pipeline could be kept meanwhile.

        Raises:
            CacheError: ``refused``, where nobody knows what the pipeline consists of; or the
                origin's content has moved, and the next ``ensure`` resolves it afresh.
        """
        with self._lock:
            slot = self._slot(key)
            if slot.current is not None:
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
            slot = self._slot(key)
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
            self._requests.touch(self._slot(key, load=False))

    def scrub(self, pipeline: Key | None) -> dict[str, Any]:
        """Have every byte of ``pipeline`` on disk checked and repaired, None: of all of them.

        Raises:
            UnknownPipelineError: there is none.
        """
        if pipeline is not None:
            with self._lock:
                self._slot(pipeline)
        return self._scrub.ask(None if pipeline is None else scrub_name(pipeline))

    # Views.

    def view(self, key: Key) -> dict[str, Any]:
        """Return one pipeline as the API shows it."""
        with self._lock:
            self._requests.note_reads()
            return self._view(self._slot(key))

    def views(self, tenant: str) -> list[dict[str, Any]]:
        """Return every pipeline of ``tenant``, or of ALL_TENANTS, by id, without its files."""
        with self._lock:
            self._requests.note_reads()
            shown = [
                self._view(s)
                for k, s in sorted(self._inventory.slots.items())
                if covers(tenant, k.tenant)
            ]
        for view in shown:
            for model in view["models"]:
                model.pop("files", None)
                model.pop("left_out", None)
        return shown

    def glances(self, tenant: str) -> list[Glance]:
        """Return how every pipeline of ``tenant``, or of ALL_TENANTS, stands, by tenant and id."""
        with self._lock:
            slots = self._inventory.slots.items()
            return self._glances([s for k, s in sorted(slots) if covers(tenant, k.tenant)])

    def glance(self, key: Key) -> Glance:
        """Return how one pipeline stands.

        Raises:
            UnknownPipelineError: there is none.
        """
        with self._lock:
            return self._glances([self._slot(key)])[0]

    def _glances(self, slots: list[Slot]) -> list[Glance]:
        self._requests.note_reads()
        clocks, readers = self._clocks, self.leases.readers_by_key()
        now = Now(clocks.moment(), clocks.monotonic(), self.options.hot_window)
        return [
            glance_at(
                slot,
                now,
                booked=self._room.booked(slot),
                readers=readers.get(slot.registration.key, 0),
            )
            for slot in slots
        ]

    def status(self) -> dict[str, Any]:
        """Return the node's own figures."""
        with self._lock:
            states = [s.state for s in self._inventory.slots.values()]
            fills = sum(s.work is not None for s in self._inventory.slots.values())
            used, free = self._ledger.used, self._ledger.free
        return {
            "region": self.options.region,
            "capacity": self.options.capacity,
            "used": used,
            "free": free,
            "disk_free": self._root.disk_free,
            "pipelines": {state.value: states.count(state) for state in SlotState},
            "fills": fills,
            "passing_through": self._passing.count,
            "origin_streams": self._passing.streams,
            "leases": self.leases.count,
            "origin_bytes": self.counters.pulled,
            "repaired_chunks": self.counters.repaired,
            "lost_files": self.counters.lost,
            "scrub": self._scrub.view(),
            "disk_sick": self._disk.sickness,
            "draining": self.draining,
            "reconciled": self.reconciled,
        }

    def _view(self, slot: Slot) -> dict[str, Any]:
        self._inventory.load(slot)
        return pipeline_view(
            slot,
            now=self._clocks.moment(),
            monotonic=self._clocks.monotonic(),
            hot_window=self.options.hot_window,
        )

    def _whole_slots(self) -> list[Target]:
        with self._lock:
            return [
                Target(s, s.current)
                for s in self._inventory.slots.values()
                if s.current is not None
            ]

    # Inside, with the lock held.

    def _slot(self, key: Key, *, load: bool = True) -> Slot:
        slot = self._inventory.slots.get(key)
        if slot is None or slot.leaving:
            raise UnknownPipelineError(f"there is no pipeline {shown(key.id)}")
        if load:
            self._inventory.load(slot)
        return slot

    # In the background.

    def _reconcile(self) -> None:
        """Bring memory in line with the disk, drop what nobody registered, resume fills."""
        looks = (
            self._root.empty_trash,
            lambda: self._inventory.load_all(self._closing),
            lambda: self._inventory.drop_unknown(self._closing),
            self._resume,
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

    def _resume(self) -> None:
        """Go on with what is half filled, and fill what was hot and is not whole."""
        self._proactive.ask(self._to_resume())

    def _disk_changed(self, sickness: str | None) -> None:
        if sickness is not None:
            self._filling.interrupt(sickness)
        elif self.reconciled:
            try:
                self._resume()
            except (CacheError, OSError) as error:  # the watch over the disk must go on
                log.warning("fills do not go on by themselves: %s", error)

    def _to_resume(self) -> list[Key]:
        """Return what was hot and is not whole, and what was half filled; the latest first."""
        now, window = self._clocks.boottime(), self.options.hot_window
        with self._lock:
            slots = [
                slot
                for slot in self._inventory.slots.values()
                if _half_filled(slot) or (slot.current is None and is_hot(slot.asked, now, window))
            ]
        slots.sort(key=lambda s: s.asked.seconds if s.asked else NEVER, reverse=True)
        return [slot.registration.key for slot in slots]

    def _begin_unasked(self, key: Key) -> Work | None:
        """Begin a fill that no replica waits for, if there is something to fill."""
        slot = self._inventory.slots.get(key)
        if slot is None or slot.leaving or self._closing.is_set() or self.draining:
            return None
        self._inventory.load(slot)
        wanted = slot.current is None or _half_filled(slot)
        return self._filling.begin(slot) if wanted else None

    def _keep_house(self) -> None:
        while not self._closing.wait(HOUSEKEEPING):
            try:
                self._disk.check()  # what hangs in it would hold the lock
                self._flush(BATCH)
                self._passing.end_idle(self.leases.held())
                self._departures.give_up_unheld(self.leases.held())
            except (CacheError, OSError) as error:
                log.warning("housekeeping: %s; tried again in %.0f s", error, HOUSEKEEPING)

    def _flush(self, limit: int | None = None) -> None:
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


def _continued(was: Registration, wanted: Registration, pinned: bool | None) -> Registration:  # noqa: FBT001
    """Return ``wanted`` with what it leaves as it was."""
    return replace(
        wanted,
        pinned=was.pinned if pinned is None else pinned,
        vouched=wanted.vouched or (was.vouched and was.models == wanted.models),
    )


def _found(slot: Slot) -> Found:
    """Return how a question for a manifest meets ``slot``."""
    if slot.current is not None:
        return Found.HIT
    return Found.MISS if slot.work is None or slot.work.stopped.is_set() else Found.JOINED


def _half_filled(slot: Slot) -> bool:
    return slot.target not in (None, slot.current) and slot.target.begun


def _ending(slot: Slot) -> Slot | None:
    """Return the slot whose end a change of ``slot`` must wait for, if there is one.

    That of a pipeline that is being removed, or of one that was changed a moment ago: its
    content may be what comes back, and must not be taken up while it is on its way out.
    """
    if slot.leaving:
        return slot
    if slot.replaces is not None and slot.replaces.over.is_set():
        slot.replaces = None
    return slot.replaces
