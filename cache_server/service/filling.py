"""From a registration to a published generation: resolve, book, lay out, fill, publish.

    resolve     ask every origin for names, sizes and a revision that no longer moves
    book        room for the whole pipeline, or CapacityError; others may have to go, see ``room``
    lay out     every file at its full size; now a replica can be given the manifest
    fill        bytes; replicas read them as they land
    publish     the slot is warm

One attempt (``Work``) per slot; whoever asks meanwhile shares it. An error reaches everyone who
waits and is then forgotten by the machinery: the next caller tries afresh.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from contextvars import copy_context
from typing import Any

from cache_protocol.errors import (
    BusyError,
    CacheError,
    CapacityError,
    MalformedError,
    OriginChangedError,
)
from cache_protocol.manifest import MAX_FILES
from cache_server.catalogue.registry import Registration
from cache_server.core.content import Content, ModelContent, ModelSpec, select
from cache_server.core.slots import SlotEvent, SlotState
from cache_server.core.standing import Standing
from cache_server.core.tenants import Terms
from cache_server.fill.fill import Fill, FillStoppedError
from cache_server.fill.pieces import Pause, until_it_answers
from cache_server.ports import OpenOrigin, Origin
from cache_server.service.clocks import Clocks
from cache_server.service.counters import Counters
from cache_server.service.departures import Departures
from cache_server.service.disk_watch import DiskWatch, SickDiskError
from cache_server.service.fill_turns import FillTurns
from cache_server.service.library import Library
from cache_server.service.repairs import Repairs
from cache_server.service.room import Room, TenantFullError
from cache_server.service.slot import LastError, Resolution, Slot, Work
from cache_server.store.generation import Generation
from cache_server.store.root import Root
from cache_server.store.stored_file import StoredFile

log = logging.getLogger(__name__)

TICK = 0.5  # seconds within which a stopped attempt is noticed while its origins are asked
MAX_ASKED = 8  # models of one pipeline whose origins are asked at once; each takes a thread


class Filling:
    """Runs attempts, one thread each. ``lock`` guards every slot and the ledger."""

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        lock: "threading.RLock",
        root: Root,
        room: Room,
        counters: Counters,
        departures: Departures,
        library: Library,
        open_origin: OpenOrigin,
        clocks: Clocks,
        disk: DiskWatch,
        turns: FillTurns,
    ) -> None:
        self.lock = lock
        self.reconciled = threading.Event()  # the ledger knows all that lies on disk
        self._root = root
        self._room = room
        self._counters = counters
        self._departures = departures
        self._library = library
        self._open_origin = open_origin
        self._clocks = clocks
        self._disk = disk
        self._turns = turns
        self._stopping = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._running: set[Work | Resolution] = set()
        # What could not be read; set by whoever looks at such chunks.
        self.unreadable: Callable[[Generation, StoredFile, int], None] = lambda *_: None
        self._repairs = Repairs(
            disk=disk,
            lock=self.lock,
            counters=counters,
            origins=self._origins,
            pause=self._pause,
            now=clocks.now,
            give_up=departures.retire,
            fill=lambda slot, refresh: self.begin(slot, refresh=refresh),
        )

    # Called with the lock held: what begins here changes nothing before it is given back.

    def resolve(self, slot: Slot) -> "Future[Generation]":
        """Ask the origins what ``slot`` consists of, or join who is asking.

        Raises:
            BusyError: the system has no thread left.
        """
        if slot.resolving is None:
            asked = Resolution()
            self._spawn(f"resolve {slot.registration.key.id}", lambda: self._resolve(slot, asked))
            slot.resolving = asked
            self._running.add(asked)
        return slot.resolving.found

    def take(self, slot: Slot, content: Content) -> Generation:
        """Have the next fill bring ``content``, which the origins have named just now.

        Raises:
            DiskError: it cannot be written down.
        """
        slot.content = content
        generation = self._aim_at(slot, content)
        generation.standing = Standing(self._clocks.now())
        return generation

    def begin(self, slot: Slot, *, refresh: bool = False) -> Work:
        """Start an attempt to make ``slot`` whole, or join the one that runs.

        Raises:
            BusyError: the system has no thread left.
        """
        if slot.work is None:
            work = Work(refresh=refresh)
            self._spawn(f"fill {slot.registration.key.id}", lambda: self._run(slot, work))
            slot.work = work
            self._running.add(work)
            self._turns.begins(slot.registration.key.tenant)
        # Also when joining: a slot whose content was found damaged may be refreshing already.
        if slot.current is None and slot.state is SlotState.COLD:
            slot.happens(SlotEvent.FILL)
        return slot.work

    def forget_target(self, slot: Slot) -> None:
        """Have the next attempt ask the origins afresh: what they said does not hold any more."""
        if slot.target not in (None, slot.current):
            self._departures.retire(slot.target)
        slot.target, slot.content = slot.current, None

    def check_turn(self, slot: Slot) -> None:
        """Refuse an attempt that would have to wait behind too many of its tenant; QuotaError."""
        if slot.work is None:
            self._turns.check(slot.registration.key.tenant)

    def check_room(self, slot: Slot) -> None:
        """Refuse at once what cannot be booked, where the size is known already.

        Raises:
            CapacityError: it does not fit; its numbers are in the text.
            TenantFullError: as much of its tenant is kept as may be.
        """
        # Also where an attempt was refused before, and nothing of it was kept.
        content = slot.target.content if slot.target is not None else slot.content
        if slot.work is None and content is not None and self.reconciled.is_set():
            self._room.check(content)

    def serve(self, slot: Slot, generation: Generation) -> None:
        """Make ``generation`` readable, and able to repair itself."""
        progress, repairs = generation.progress, self._repairs
        progress.repair = lambda file, chunk: repairs.repair(slot, generation, file, chunk)
        progress.lost = lambda file, left: repairs.lost(slot, generation, file, left)
        progress.failed = lambda file, chunk, error: self._read_failed(
            generation, file, chunk, error
        )
        self._library.add(generation)

    def stop(self) -> None:
        """End every attempt and wait until all threads are gone. Without the lock."""
        self._stopping.set()
        # Again and again: an attempt that ends may have begun another one before it was told.
        while threads := self._told_to_stop():
            for thread in threads:
                thread.join()

    def stop_unheld(self, held: Collection[str]) -> None:
        """End every attempt whose bytes nobody reads: its generation is not among ``held``."""
        with self.lock:
            for each in self._running:
                opened = each.generation if isinstance(each, Work) else None
                if opened is None or opened.id not in held:
                    each.stop()

    def interrupt(self, sickness: str) -> None:
        """End every attempt, because the disk is sick, and tell who waits for its bytes."""
        with self.lock:
            works = [each for each in self._running if isinstance(each, Work)]
        for work in works:
            # At once: its threads may hang in the disk until that is well.
            if work.generation is not None and not work.generation.published:
                work.generation.fail(SickDiskError(sickness))
            work.stop()

    def _told_to_stop(self) -> list[threading.Thread]:
        with self.lock:
            for each in self._running:
                each.stop()
            return list(self._threads)

    # An attempt, in a thread of its own.

    def _run(self, slot: Slot, work: Work) -> None:
        try:
            generation = self._open(slot, work)
            with self._turn(slot, work), self._origins(slot, generation) as origins:
                self._fill(generation, origins, work)
            self._publish(slot, work, generation)
        except CacheError as error:
            self._fail(slot, work, error)
        except Exception as error:  # a bug must not leave waiters hanging
            log.exception("the fill of %s failed", slot.registration.key.id, extra=slot.named)
            self._fail(slot, work, CacheError(f"the fill failed: {error!r}"))
        finally:
            with self.lock:
                self._turns.is_over(slot.registration.key.tenant)
                self._running.discard(work)

    def _open(self, slot: Slot, work: Work) -> Generation:
        """Bring the slot so far that a replica can be given its manifest."""
        with self.lock:
            if work.stopped.is_set():
                raise FillStoppedError("the fill was stopped before it began")
            self._disk.check()
            known = None if work.refresh else slot.target
            resolving = None if known else self.resolve(slot)
        generation = known or (resolving.result() if resolving else None)
        if generation is None:
            raise AssertionError("either known or resolved")
        with self.lock:
            slot.content = generation.content
        self.reconciled.wait()
        if not generation.published:
            self._lay_out(slot, generation)
        with self.lock:
            work.generation = generation
            work.began_at, work.began_with = self._clocks.monotonic(), generation.filled
            self.serve(slot, generation)
        work.opened.set_result(generation)
        return generation

    def _lay_out(self, slot: Slot, generation: Generation) -> None:
        try:
            self._room.lay_out(generation)
        except (CapacityError, TenantFullError):
            # Nothing was pulled that could be kept; empty files would keep others out.
            self._discard(slot, generation)
            raise

    def _fill(self, generation: Generation, origins: Mapping[str, Origin], work: Work) -> None:
        if generation.published:
            return
        counters = self._counters
        fill = Fill(generation, origins, pulled=counters.count_pulled, wrong=counters.count_wrong)
        with self.lock:
            work.fill = fill
            if work.stopped.is_set() or self._stopping.is_set():
                raise FillStoppedError("the fill was stopped")
        fill.run()
        generation.publish()
        counters.count_fill(self._clocks.monotonic() - work.began_at)

    def _publish(self, slot: Slot, work: Work, generation: Generation) -> None:
        with self.lock:
            if slot.current not in (None, generation):
                self._departures.retire(slot.current)
            slot.current = slot.target = generation
            slot.work, slot.last_error = None, None
            if slot.state is SlotState.FILLING:
                slot.happens(SlotEvent.PUBLISHED)
        name, size = slot.registration.key.id, generation.content.size
        log.info("%s is warm: %d bytes", name, size, extra={**slot.named, "bytes": size})
        work.done.set_result(None)

    def _fail(self, slot: Slot, work: Work, error: CacheError) -> None:
        self._disk.noticed(error)
        if work.generation is not None and not work.generation.published:
            work.generation.fail(error)
        with self.lock:
            slot.work = None
            slot.last_error = LastError(error, self._clocks.now())
            if slot.state is SlotState.FILLING:
                slot.happens(SlotEvent.FAILED)
        self._counters.count_fill_failure(error.code)
        facts = {**slot.named, "code": error.code}
        log.warning("the fill of %s failed: %s", slot.registration.key.id, error, extra=facts)
        try:
            if isinstance(error, OriginChangedError) and work.generation is not None:
                self._discard(slot, work.generation)  # its content no longer exists anywhere
        finally:
            for waiting in (work.opened, work.done):
                _settle_error(waiting, error)

    def _discard(self, slot: Slot, generation: Generation) -> None:
        with self.lock:
            if slot.target is generation:
                slot.target = slot.current
            self._departures.retire(generation)
        self._departures.give_up([generation])

    def _read_failed(
        self, generation: Generation, file: StoredFile, chunk: int, error: Exception
    ) -> None:
        self._disk.noticed(error)
        self.unreadable(generation, file, chunk)

    # Resolution.

    def _resolve(self, slot: Slot, asked: Resolution) -> None:
        try:
            content = self._content(slot.registration, asked)
            with self.lock:
                slot.resolving = None
                generation = self.take(slot, content)
            asked.found.set_result(generation)
        except Exception as error:
            failure = error if isinstance(error, CacheError) else CacheError(repr(error))
            if failure is not error:
                log.exception("resolving %s failed", slot.registration.key.id, extra=slot.named)
            with self.lock:
                slot.resolving = None
                slot.last_error = LastError(failure, self._clocks.now())
            _settle_error(asked.found, failure)
        finally:
            with self.lock:
                self._running.discard(asked)

    def _content(self, registration: Registration, asked: Resolution) -> Content:
        """Ask origins side by side; the first that says no ends it, whatever the others do."""

        def pause(seconds: float) -> None:
            if asked.stopped.wait(seconds):
                raise FillStoppedError("nobody needs the answer any more")

        most = min(len(registration.models), MAX_ASKED)
        pool = ThreadPoolExecutor(most, thread_name_prefix="resolve")
        try:
            terms = registration.terms
            answers = [
                pool.submit(copy_context().run, self._resolve_model, m, terms, pause)
                for m in registration.models
            ]
            missing = set(answers)
            while missing:
                done, missing = wait(missing, TICK, FIRST_EXCEPTION)
                for answer in done:
                    answer.result()
                pause(0)
        finally:
            asked.stop()
            # One that hangs is not waited for: it notices at its adapter's own time limit.
            pool.shutdown(wait=False, cancel_futures=True)
        models = tuple(answer.result() for answer in answers)
        if (count := sum(len(m.files) for m in models)) > MAX_FILES:
            raise MalformedError(f"{count} files in all, above the {MAX_FILES} of a manifest")
        return Content(registration.key.tenant, registration.key.id, models, registration.spec)

    def _aim_at(self, slot: Slot, content: Content) -> Generation:
        """Make ``content`` what the next fill brings; what it was before is given up."""
        before, generation = slot.target, self._generation(slot, content)
        slot.target = generation
        if before not in (None, slot.current, generation):
            self._departures.retire(before)
        return generation

    def _generation(self, slot: Slot, content: Content) -> Generation:
        """Return the generation of ``content``: one that is there already, or a new one."""
        for generation in (slot.current, slot.target):
            if generation is not None and generation.id == content.generation:
                return generation
        if (again := self._departures.take_back(content.generation)) is not None:
            return again
        self._disk.check()  # the lock is held: what hangs in a sick disk would hold up all
        directory = self._root.slot(content.tenant, content.pipeline)
        return Generation.create(directory, content, self._clocks.now())

    def _resolve_model(self, spec: ModelSpec, terms: Terms, pause: Pause) -> ModelContent:
        origin = self._open_origin(spec, terms)
        try:
            return select(spec, until_it_answers(origin.resolve, pause))
        finally:
            origin.close()

    # Small parts.

    @contextmanager
    def _origins(self, slot: Slot, generation: Generation) -> Iterator[Mapping[str, Origin]]:
        origins: dict[str, Origin] = {}
        try:
            for model in generation.content.models:
                spec = ModelSpec(model.name, model.source, credentials=model.credentials)
                origins[model.name] = self._open_origin(spec, slot.registration.terms)
            yield origins
        finally:
            for origin in origins.values():
                origin.close()

    def _turn(self, slot: Slot, work: Work) -> AbstractContextManager[None]:
        def check() -> None:
            if work.stopped.is_set() or self._stopping.is_set():
                raise FillStoppedError("the fill was stopped before its turn")

        return self._turns.turn(slot.registration.key.tenant, check)

    def _pause(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise FillStoppedError("the node is shutting down")

    def _spawn(self, name: str, run: Callable[[], None]) -> None:
        def body() -> None:
            try:
                run()
            finally:
                with self.lock:
                    self._threads.discard(threading.current_thread())

        # Whatever it logs, or asks an origin, it does for the request that began it.
        thread = threading.Thread(target=copy_context().run, args=(body,), name=name)
        try:
            thread.start()
        except RuntimeError as error:  # before anybody knows of an attempt that would never end
            raise BusyError("no further thread can be started; raise the limit on tasks") from error
        self._threads.add(thread)


def _settle_error(future: "Future[Any]", error: CacheError) -> None:
    if not future.done():
        future.set_exception(error)
