"""One model in a device's memory: one allocation, each file at a page of its own.

    socket ──> slot of the ring ──digest──> accept ──copy on the lane's stream──> its place
               (pinned, shared by                     (an event tells when)
                the device's models)

A chunk leaves the host only when its digest is the promised one; until then it is in its lane's
slot. That a chunk was accepted says that its copy is queued; ``settle`` waits for it.
"""

from cache_protocol.manifest import Model
from cache_protocol.ranges import Span
from replica_agent.arenas.bounce import Bounce
from replica_agent.arenas.cuda.allocation import Allocation
from replica_agent.arenas.cuda.passage import Lost, Passage
from replica_agent.arenas.cuda.ring import Ring
from replica_agent.arenas.host import place_files
from replica_agent.ports import ArenaLostError


class CudaArena:
    """The files of one model on one device; an ``Arena``. Safe for threads."""

    in_place = False

    def __init__(self, model: Model, ring: Ring, lost: Lost) -> None:
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
        self._passage = Passage(ring, self.sizes, lost)
        self._bounce = Bounce()
        if not self.sizes:
            self.close()

    def room(self, file: int, span: Span) -> memoryview:
        """Return a part of the slot in which the calling thread has the chunk; may wait for one."""
        return self._passage.room(file, span)

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Nothing is left to do: the chunk waits in its slot for its digest."""

    def accept(self, file: int, span: Span) -> None:
        """Queue the copy of the chunk that the calling thread holds."""
        place, size = self.memory.address + self.places[file] + span.begin, span.size

        def queue(slot: memoryview, stream: int) -> None:
            self._device.copy_in(place, slot[:size], stream)

        self._passage.send(file, span, {0: queue})

    def settle(self, file: int, span: Span) -> None:
        """Wait until the chunks of ``span``, all accepted, have reached the device."""
        self._passage.settle(file, span)

    def read(self, file: int, span: Span) -> memoryview:
        """Copy ``span`` back into the calling thread's buffer, and return it."""
        room = self._bounce.room(span.size)
        self.fetch(file, span, room)
        return room

    def fetch(self, file: int, span: Span, into: memoryview) -> None:
        """Fill ``into`` with ``span``, which was accepted."""
        self.settle(file, span)
        memory = self.memory  # not freed while we read it
        with self._passage.losing():
            if span.size:
                self._device.copy_out(into, memory.address + self.places[file] + span.begin)

    def confirm(self, file: int) -> None:
        """Wait for the file's copies; with the last file the ring is of no more use."""
        self._passage.confirm(file)

    def close(self) -> None:
        """Give the pinned memory up, and the device's unless every file is confirmed.

        A tensor over the device's memory keeps it. What is on its way arrives before that.
        """
        if self._passage.close():
            self._memory = None

    @property
    def memory(self) -> Allocation:
        """The device's memory; ArenaLostError when it was given up."""
        if self._memory is None:
            raise ArenaLostError("the arena was closed before every file was confirmed")
        return self._memory
