"""One model in a device's memory: one allocation, each file at a page of its own.

    socket ──> slot of the ring ──digest──> accept ──copy on the lane's stream──> its place
               (pinned, shared by                     (an event tells when)
                the device's models)

A chunk leaves the host only when its digest is the promised one; until then it is in its lane's
slot. That a chunk was accepted says that its copy is queued; ``settle`` waits for it. A call of
the driver that fails loses the whole arena: what is on a device that fails is worth nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache_protocol.digests import CHUNK_SIZE, chunk_count
from cache_protocol.manifest import Model
from cache_protocol.ranges import Span
from replica_agent.arenas.bounce import Bounce
from replica_agent.arenas.cuda.allocation import Allocation
from replica_agent.arenas.cuda.driver import DriverError
from replica_agent.arenas.cuda.ring import Copy, Key, Queue, Ring
from replica_agent.arenas.host import place_files
from replica_agent.ports import ArenaLostError


class CudaArena:
    """The files of one model on one device; an ``Arena``. Safe for threads."""

    in_place = False

    def __init__(self, model: Model, ring: Ring, lost: Callable[[DriverError], None]) -> None:
        """Take exactly the memory that ``model`` needs, its files rounded up to pages.

        Args:
            model: what will be in it.
            ring: of the device alone; held until every file is confirmed, or the arena is closed.
            lost: called with the error that ends the arena, maybe more than once.

        Raises:
            DriverError: the device has no room.
        """
        self.sizes = [f.size for f in model.files]
        self.places = place_files(self.sizes)
        (self._device,) = ring.devices
        self._memory: Allocation | None = Allocation(self._device, self.places[-1])
        self._ring = ring
        self._holding = True
        self._lost = lost
        self._unconfirmed = len(self.sizes)
        self._copies: dict[tuple[int, int], Copy] = {}  # by file and chunk; not seen to be done
        self._bounce = Bounce()
        ring.hold()
        if not self.sizes:
            self.close()

    def room(self, file: int, span: Span) -> memoryview:
        """Return a part of the slot in which the calling thread has the chunk; may wait for one."""
        chunk, begin = divmod(span.begin, CHUNK_SIZE)
        with self._losing():
            slot = self._held.slot(self._key(file, chunk), begins=begin == 0)
        return slot[begin : begin + span.size]

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Nothing is left to do: the chunk waits in its slot for its digest."""

    def accept(self, file: int, span: Span) -> None:
        """Queue the copy of the chunk that the calling thread holds."""
        chunk = span.begin // CHUNK_SIZE
        place = self.memory.address + self.places[file] + span.begin
        with self._losing():
            if (before := self._copies.get((file, chunk))) is not None:
                self._held.finish(before)  # of other content: it must not come after ours
            copy = self._held.send(self._key(file, chunk), {0: self._copying(place, span.size)})
        self._copies[file, chunk] = copy

    def settle(self, file: int, span: Span) -> None:
        """Wait until the chunks of ``span``, all accepted, have reached the device."""
        last = -(-span.end // CHUNK_SIZE)
        with self._losing():
            for key in ((file, n) for n in range(span.begin // CHUNK_SIZE, last)):
                copy = self._copies.get(key)
                if copy is not None and not copy.done:
                    self._held.finish(copy)

    def read(self, file: int, span: Span) -> memoryview:
        """Copy ``span`` back into the calling thread's buffer, and return it."""
        room = self._bounce.room(span.size)
        self.fetch(file, span, room)
        return room

    def fetch(self, file: int, span: Span, into: memoryview) -> None:
        """Fill ``into`` with ``span``, which was accepted."""
        self.settle(file, span)
        memory = self.memory  # not freed while we read it
        with self._losing():
            if span.size:
                self._device.copy_out(into, memory.address + self.places[file] + span.begin)

    def confirm(self, file: int) -> None:
        """Wait for the file's copies; with the last file the ring is of no more use."""
        self.settle(file, Span(0, self.sizes[file]))
        for chunk in range(chunk_count(self.sizes[file])):
            self._copies.pop((file, chunk), None)
        self._unconfirmed -= 1
        if self._unconfirmed == 0:
            self.close()

    def close(self) -> None:
        """Give the pinned memory up, and the device's unless every file is confirmed.

        A tensor over the device's memory keeps it. What is on its way arrives before that.
        """
        holding, self._holding = self._holding, False
        if holding and self._unconfirmed:
            self._ring.drain()
            self._memory = None
        if holding:
            self._ring.leave()

    @property
    def memory(self) -> Allocation:
        """The device's memory; ArenaLostError when it was given up."""
        if self._memory is None:
            raise ArenaLostError("the arena was closed before every file was confirmed")
        return self._memory

    def _copying(self, place: int, size: int) -> Queue:
        return lambda memory, stream: self._device.copy_in(place, memory[:size], stream)

    def _key(self, file: int, chunk: int) -> Key:
        return (self.memory.address, file, chunk)

    @property
    def _held(self) -> Ring:
        if not self._holding:
            raise ArenaLostError("the arena was closed before every file was confirmed")
        return self._ring

    @contextmanager
    def _losing(self) -> Iterator[None]:
        try:
            yield
        except DriverError as error:
            self._lost(error)
            raise ArenaLostError(f"{self._device.info}: {error}") from error
