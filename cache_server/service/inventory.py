"""Every slot of the node: read from the database once, and from the disk each at its first use.

Registrations come in one go, at the first call that needs them, so that a node of 100 000
pipelines listens before. What lies of a slot on the disk is looked at when somebody asks for it,
and by the reconcile in the end: memory, disk and ledger then agree, and what nobody registered is
gone.
"""

import errno
import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cache_protocol.errors import CacheError, DiskError, UnknownPipelineError
from cache_protocol.names import shown
from cache_server.catalogue.registry import Key, Registry
from cache_server.core.content import is_lawful
from cache_server.core.ledger import Ledger
from cache_server.core.recency import recall
from cache_server.core.slots import SlotEvent
from cache_server.service.clocks import Clocks
from cache_server.service.slot import Slot
from cache_server.store.durable import delete
from cache_server.store.generation import Generation
from cache_server.store.root import Root

log = logging.getLogger(__name__)


class Inventory:
    """All slots, by key."""

    def __init__(  # noqa: PLR0913 - all by name but the first
        self,
        by_key: dict[Key, Slot],
        *,
        lock: "threading.RLock",
        root: Root,
        registry: Registry,
        ledger: Ledger,
        clocks: Clocks,
        serve: Callable[[Slot, Generation], None],
    ) -> None:
        """Know nothing yet.

        Args:
            by_key: empty; the slots go in here, where others may look too.
            lock: the service's.
            root: where slots lie.
            registry: where they are registered.
            ledger: who holds how much room; what lies on disk is booked at its first look.
            clocks: for what was written down of last requests.
            serve: called with each generation that is whole.
        """
        self._by_key = by_key
        self._lock = lock
        self._root = root
        self._registry = registry
        self._ledger = ledger
        self._clocks = clocks
        self._serve = serve
        self._known = threading.Event()  # the database has been read
        self._learning = threading.Lock()

    def known_slot(self, key: Key) -> Slot | None:
        """Return a slot without any lock or wait; None also while nothing is known yet."""
        return self._by_key.get(key) if self._known.is_set() else None

    @property
    def slots(self) -> dict[Key, Slot]:
        """Every slot. Read at first use: a node of 100 000 pipelines listens meanwhile."""
        if not self._known.is_set():
            self._learn()
        return self._by_key

    def find(self, key: Key, *, load: bool = True) -> Slot:
        """Return a slot that is not on its way out, by default with what lies of it on disk.

        With the lock held.

        Raises:
            UnknownPipelineError: there is none.
            DiskError: as ``load``.
        """
        slot = self.slots.get(key)
        if slot is None or slot.leaving:
            raise UnknownPipelineError(f"there is no pipeline {shown(key.id)}")
        if load:
            self.load(slot)
        return slot

    def load(self, slot: Slot) -> None:
        """Take what lies on disk into the slot: once, at first use. With the lock held.

        Raises:
            DiskError: this process ran out of descriptors or memory; it is tried again.
        """
        if slot.loaded:
            return
        slot.loaded = True
        key = slot.registration.key
        try:
            found = [g for d in self._root.generations(*key) if (g := self._read(d))]
        except DiskError as error:
            slot.loaded = not _is_ours(error)
            raise
        wanted = slot.registration
        fresh = [
            g
            for g in found
            if g.content.spec == wanted.spec and is_lawful(g.content, wanted.models)
        ]
        fresh.sort(key=lambda g: g.resolved, reverse=True)
        slot.current = next((g for g in fresh if g.published), None)
        slot.target = fresh[0] if fresh else None
        if slot.current is not None:
            slot.happens(SlotEvent.FILL)
            slot.happens(SlotEvent.PUBLISHED)
            self._serve(slot, slot.current)
        for generation in found:
            if generation in (slot.current, slot.target):
                if generation.begun:
                    self._ledger.adopt(generation.id, generation.room, tenant=key.tenant)
            else:
                self._root.discard(generation.directory)

    def load_all(self, stopped: threading.Event) -> None:
        """Look at every slot; what fails of one is told, and leaves the others alone."""
        with self._lock:
            keys = list(self.slots)
        for key in keys:
            try:
                with self._lock:
                    if (slot := self.slots.get(key)) and not stopped.is_set():
                        self.load(slot)
            except (CacheError, OSError) as error:  # that of one slot only
                log.warning("looking at %s: %s", key.id, error)

    def drop_unknown(self, stopped: threading.Event) -> None:
        """Delete what lies on disk and nobody registered."""
        for tenant, pipeline in list(self._root.slot_names()):
            with self._lock:
                if Key(tenant, pipeline) in self.slots or stopped.is_set():
                    continue
                place = self._root.put_away(self._root.slot(tenant, pipeline))
            delete(place)  # which takes its time, so without the lock

    def _learn(self) -> None:
        """Read registrations and last requests. Takes no other lock: callers may hold ours."""
        with self._learning:
            if self._known.is_set():
                return
            with _collector_at_rest():
                self._read_all()
            self._known.set()

    def _read_all(self) -> None:
        now, last = self._clocks.moment(), self._registry.last_requests()
        for key, registration in self._registry.all().items():
            asked = recall(last[key], now) if key in last else None
            self._by_key[key] = Slot(registration, asked=asked)

    def _read(self, directory: Path) -> Generation | None:
        try:
            return Generation.load(directory)
        except DiskError as error:
            if _is_ours(error):
                raise
            log.warning("%s; it is deleted and pulled again when needed", error)
            self._root.discard(directory)
            return None


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Keep Python from looking for garbage again and again among objects that only grow more.

    Reading 100 000 pipelines takes 1.1 s of a core instead of 4.5; benchmarks/policy.py.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def _is_ours(error: DiskError) -> bool:
    """Whether this process ran out of something: that says nothing of what lies on the disk."""
    cause = error.__cause__
    return isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
