"""The chunks of one model on their way through a ring, to one device or to several.

    room ──> bytes ──> send ──copies, an event for each──> settle (a span) ──> confirm (a file)

What every arena on devices has in common. A call of the driver that fails loses the whole arena:
what is on a device that fails is worth nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from cache_protocol.digests import CHUNK_SIZE, chunk_count
from cache_protocol.ranges import Span
from replica_agent.arenas.cuda.driver import DriverError
from replica_agent.arenas.cuda.ring import Copy, Key, Queue, Ring
from replica_agent.ports import ArenaLostError

Lost = Callable[[DriverError], None]


class Passage:
    """Holds a ring until every file is confirmed, or it is closed. Safe for threads."""

    def __init__(self, ring: Ring, sizes: Sequence[int], lost: Lost) -> None:
        """Bring files of ``sizes`` bytes; ``lost`` hears what ends it, maybe more than once."""
        self._ring = ring
        self._sizes = sizes
        self._lost = lost
        # Of several devices the error itself says which.
        self._which = f"{ring.devices[0].info}: " if len(ring.devices) == 1 else ""
        self._open = True
        self._unconfirmed = len(sizes)
        self._copies: dict[tuple[int, int], Copy] = {}  # by file and chunk; not seen to be done
        ring.hold()

    def room(self, file: int, span: Span) -> memoryview:
        """Return a part of the slot in which the calling thread has the chunk; may wait for one."""
        chunk, begin = divmod(span.begin, CHUNK_SIZE)
        with self.losing():
            slot = self._held.slot(self._key(file, chunk), begins=begin == 0)
        return slot[begin : begin + span.size]

    def chunk(self, file: int, span: Span) -> memoryview:
        """Return the bytes of ``span``, the whole chunk that the calling thread holds."""
        key = self._key(file, span.begin // CHUNK_SIZE)
        return self._held.slot(key, begins=False)[: span.size]

    def send(self, file: int, span: Span, queues: Mapping[int, Queue]) -> None:
        """Queue the copies of that chunk, as ``Ring.send`` does; its slot is not ours any more."""
        chunk = span.begin // CHUNK_SIZE
        with self.losing():
            if (before := self._copies.get((file, chunk))) is not None:
                self._held.finish(before)  # of other content: it must not come after ours
            copy = self._held.send(self._key(file, chunk), queues)
        self._copies[file, chunk] = copy

    def settle(self, file: int, span: Span) -> None:
        """Wait until the chunks of ``span``, all sent, have reached their devices."""
        last = -(-span.end // CHUNK_SIZE)
        with self.losing():
            for key in ((file, n) for n in range(span.begin // CHUNK_SIZE, last)):
                copy = self._copies.get(key)
                # Not through ``_held``: whoever confirms the last file meanwhile closes us, and
                # that copy is done.
                if copy is not None and not self._ring.finish(copy):
                    raise _closed()

    def confirm(self, file: int) -> bool:
        """Wait for the file's copies; return whether it was the last, and the ring is left."""
        self.settle(file, Span(0, self._sizes[file]))
        for chunk in range(chunk_count(self._sizes[file])):
            self._copies.pop((file, chunk), None)
        self._unconfirmed -= 1
        if self._unconfirmed == 0:
            self.close()
        return self._unconfirmed == 0

    def close(self) -> bool:
        """Leave the ring, what is on its way having arrived; return if that was in the middle."""
        was_open, self._open = self._open, False
        in_the_middle = was_open and self._unconfirmed > 0
        if in_the_middle:
            self._ring.drain()
        if was_open:
            self._ring.leave()
        return in_the_middle

    @contextmanager
    def losing(self) -> Iterator[None]:
        """Have an error of the driver lose the arena; ArenaLostError then."""
        try:
            yield
        except DriverError as error:
            self._lost(error)
            raise ArenaLostError(f"{self._which}{error}") from error

    def _key(self, file: int, chunk: int) -> Key:
        return (id(self), file, chunk)

    @property
    def _held(self) -> Ring:
        if not self._open:
            raise _closed()
        return self._ring


def _closed() -> ArenaLostError:
    return ArenaLostError("the arena was closed before every file was confirmed")
