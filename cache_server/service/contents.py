"""What a pipeline consists of, told without beginning a fill, and counted as no request.

For doors, which are asked for names far more often than for bytes, and for what goes by the
weights that are kept. Whoever wants bytes of a cold pipeline asks ``Service.ensure``.
"""

import threading  # noqa: TC003 - as everywhere else in the service
from concurrent.futures import Future  # noqa: TC003 - as above

from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.service.access_watch import AccessWatch
from cache_server.service.filling import Filling
from cache_server.service.inventory import Inventory
from cache_server.service.library import Readable
from cache_server.service.pass_through import PassThrough
from cache_server.store.generation import Generation


class Contents:
    """Of every pipeline. Safe for threads."""

    def __init__(
        self,
        *,
        lock: "threading.RLock",
        inventory: Inventory,
        filling: Filling,
        access: AccessWatch,
        passing: PassThrough,
    ) -> None:
        """Take the parts.

        Args:
            lock: the service's.
            inventory: what is known of each pipeline.
            filling: asks origins.
            access: says what may not be read any more.
            passing: has what is not kept.
        """
        self._lock = lock
        self._inventory = inventory
        self._filling = filling
        self._access = access
        self._passing = passing

    def at_hand(self, key: Key) -> Readable | None:
        """Return what a reader of ``key`` goes on with, uncounted and without any lock of a slot.

        What is kept, else what is being filled, else what passes through; None: ask ``ensure``.
        """
        slot = self._inventory.known_slot(key)
        if slot is None or slot.leaving:
            return None
        if slot.current is not None:
            return None if self._access.refusal(slot.current) is not None else slot.current
        work, content = slot.work, slot.content
        if work is not None and work.generation is not None and not work.stopped.is_set():
            return work.generation
        return None if content is None else self._passing.known(content)

    def specs(self, key: Key) -> tuple[ModelSpec, ...]:
        """Return the models of ``key`` as they are registered, without any lock; none of nobody."""
        slot = self._inventory.known_slot(key)
        return () if slot is None else slot.registration.models

    def look_up(self, key: Key) -> "Future[Generation] | None":
        """Ask the origins what a pipeline consists of; None where that is known.

        However that ends: its content may be known although it could not be written down.

        Raises:
            UnknownPipelineError: there is no such pipeline.
            BusyError: the system has no thread left.
        """
        with self._lock:
            slot = self._inventory.find(key)
            return None if slot.content or slot.current else self._filling.resolve(slot)

    def names(self, key: Key) -> "Readable | Future[Generation]":
        """Return something that says what ``key`` consists of; a future where origins are asked.

        What it returns need not have a byte: no fill begins, and nothing is counted.

        Raises:
            UnknownPipelineError: there is no such pipeline.
            OriginError: what is known of it may not be read any more.
            BusyError: the system has no thread left.
        """
        if (found := self.at_hand(key)) is not None:
            return found
        with self._lock:
            slot = self._inventory.find(key)
            known = slot.current or slot.target
            if known is None:
                return self._filling.resolve(slot)
            self._access.check(known)
            return known

    def kept(self, key: Key) -> Generation | None:
        """Return what is on disk of ``key``, whole or in part; nothing begins, nothing is counted.

        Raises:
            UnknownPipelineError: there is no such pipeline.
            OriginError: it may not be read any more.
        """
        found = self.at_hand(key)
        if found is None:
            with self._lock:
                slot = self._inventory.find(key)
                found = slot.current or slot.target
                if found is not None:
                    self._access.check(found)
        return found if isinstance(found, Generation) and found.begun else None
