"""What is done about bytes that are no longer what they were, whoever found it.

    one chunk is wrong            brought anew from the origin, in place; the slot stays warm
    a file is missing or short    the slot is cold, keeps all other chunks, and is filled at once:
                                  whoever reads meanwhile waits for what is missing
    the origin has other bytes    that file is pulled again as a whole; or, where the origin says
                                  that it has moved on, what it has now

Looking happens elsewhere (readers, ``scrub``). No disk is touched under the service's lock.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime

from cache_protocol.errors import CacheError, DiskError, IntegrityError, OriginChangedError
from cache_protocol.names import shown
from cache_server.core.counted import Liar, Purpose
from cache_server.core.slots import SlotEvent, SlotState
from cache_server.fill.pieces import Pause, RemoteFile
from cache_server.fill.repair import repair_chunk
from cache_server.ports import Origin
from cache_server.service.counters import Counters
from cache_server.service.disk_watch import DiskWatch
from cache_server.service.slot import LastError, Slot
from cache_server.store.generation import Generation
from cache_server.store.stored_file import StoredFile

log = logging.getLogger(__name__)

OpenOrigins = Callable[[Slot, Generation], AbstractContextManager[Mapping[str, Origin]]]


class Repairs:
    """Repairs one chunk at a time: a disk that rots must not outrun all else that the node does."""

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        lock: "threading.RLock",
        counters: Counters,
        disk: DiskWatch,
        origins: OpenOrigins,
        pause: Pause,
        now: Callable[[], datetime],
        give_up: Callable[[Generation], None],
        fill: Callable[[Slot, bool], object],
    ) -> None:
        """Prepare.

        Args:
            lock: guards every slot.
            counters: of the node.
            disk: is told what a repair runs into.
            origins: opens those of a slot's generation, by model.
            pause: see ``fill.pieces``.
            now: UTC.
            give_up: has a generation deleted that nobody needs any more; with the lock held.
            fill: begins an attempt, True: after asking the origins anew; with the lock held.
        """
        self._lock = lock
        self._counters = counters
        self._disk = disk
        self._origins = origins
        self._pause = pause
        self._now = now
        self._give_up = give_up
        self._fill = fill
        self._repairing = threading.Lock()

    def repair(self, slot: Slot, generation: Generation, file: StoredFile, chunk: int) -> None:
        """Bring ``chunk`` anew, unless it is right by now in memory and on disk.

        Raises:
            IntegrityError: the origin's bytes are not the recorded ones; the file is filled again.
            OriginError: the origin says no, or went silent.
            DiskError: the disk refuses.
        """
        with self._repairing:
            if _is_right(file, chunk):  # somebody repaired it while this caller waited
                return
            self._counters.count_wrong(Liar.DISK)
            log.warning("%s: chunk %d is wrong on disk", file.path, chunk, extra=slot.named)
            try:
                self._bring(slot, generation, file, chunk)
            except DiskError as error:
                self._disk.noticed(error)
                raise
            except (IntegrityError, OriginChangedError) as error:
                name = slot.registration.key.id
                log.warning(
                    "%s: chunk %d of %s cannot be repaired: %s",
                    name,
                    chunk,
                    file.origin.path,
                    error,
                )
                whole = range(file.map.count)
                self._take_back(slot, generation, error, lambda: file.forget(whole))
                raise
            with self._lock:
                slot.repaired += 1

    def lost(self, slot: Slot, generation: Generation, file: StoredFile, left: int) -> None:
        """Have the slot filled again: ``file`` has but ``left`` of its bytes on disk."""
        error = IntegrityError(
            f"{file.model}/{shown(file.origin.path)} has {left} of {file.size} bytes on disk; "
            "what is missing is pulled again"
        )
        if self._take_back(slot, generation, error, lambda: file.forget_beyond(left)):
            self._counters.count_lost()

    def _bring(self, slot: Slot, generation: Generation, file: StoredFile, chunk: int) -> None:
        revision = next(m.revision for m in generation.content.models if m.name == file.model)
        with self._origins(slot, generation) as origins:
            remote = RemoteFile(origins[file.model], revision, file.origin)
            repair_chunk(remote, file, chunk, pause=self._pause, pulled=self._count_pulled)
        self._counters.count_repaired()

    def _count_pulled(self, size: int) -> None:
        self._counters.count_pulled(size, Purpose.REPAIR)

    def _take_back(
        self, slot: Slot, generation: Generation, error: CacheError, forget: Callable[[], None]
    ) -> bool:
        """Make ``slot`` cold and begin its fill; False if it is no longer warm with this."""
        with self._lock:
            if slot.current is not generation or slot.state is not SlotState.WARM:
                return False
            log.warning("%s: %s", slot.registration.key.id, error, extra=slot.named)
            # What the disk says is taken back by the fill, before it touches a file.
            generation.published = False
            forget()
            slot.current = None
            if slot.target is not generation:  # a newer content is on its way already
                self._give_up(generation)
            slot.happens(SlotEvent.DAMAGED)
            slot.last_error = LastError(error, self._now())
            # What the origin no longer has cannot be pulled again: ask what it has now.
            self._fill(slot, isinstance(error, OriginChangedError))
            return True


def _is_right(file: StoredFile, chunk: int) -> bool:
    """Whether ``chunk`` is what it should be, for readers and on the disk below."""
    try:
        return file.matches(chunk) and file.matches(chunk, direct=True)
    except DiskError as error:
        # A sector that cannot be read may be one that can be written: disks put another in place.
        log.warning("%s: chunk %d cannot be read: %s", file.path, chunk, error)
        return False
