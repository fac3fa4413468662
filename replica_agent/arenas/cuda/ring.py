"""Pinned host memory of bounded size, and the copies out of it.

    free ──slot()──> held by a lane, for a chunk ──send()──> in flight ──its event──> free
                        └─ the lane holds HELD already: the one that it began first, afresh

A lane receives a chunk into a slot, which the device can read by itself, and goes on with the
next one while the copy runs. There are as many slots as were asked for and never more: a lane
that finds none free waits for the oldest copy, and so a slow device slows the lanes down. Each
thread has a stream of its own, so that copies do not queue behind each other.

Knows chunks by a key, not files; what is in flight at which place is the arena's to know.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable

from cache_protocol.digests import CHUNK_SIZE
from replica_agent.arenas.cuda.allocation import pinned
from replica_agent.arenas.cuda.driver import Device, DriverError
from replica_agent.ports import HELD

_log = logging.getLogger(__name__)
Key = tuple[int, int, int]  # of a chunk, whichever three numbers tell it from others


class _OfThread(threading.local):
    """What one thread has."""

    stream: int | None = None

    def __init__(self) -> None:
        self.held: dict[Key, Slot] = {}  # in the order in which it began them


class Copy:
    """One copy on its way."""

    def __init__(self, event: int) -> None:
        """Be done when ``event`` is."""
        self.event = event
        self.done = False


class Slot:
    """One chunk's worth of pinned memory."""

    def __init__(self, memory: memoryview, event: int) -> None:
        """Use ``event`` for every copy out of ``memory``."""
        self.memory = memory
        self.event = event
        self.copy: Copy | None = None  # the last one


class Ring:
    """The slots of one device. Safe for threads; it takes HELD slots for each that writes."""

    def __init__(self, device: Device, slots: int) -> None:
        """Pin ``slots`` chunks.

        Raises:
            DriverError: there is no memory for them, or the device does not answer.
        """
        self.device = device
        self.size = slots * CHUNK_SIZE
        self._changed = threading.Condition()
        self._of_thread = _OfThread()
        self._streams: list[int] = []
        self._events: list[int] = []
        self._flying: deque[Slot] = deque()
        self._waiting = 0  # threads that wait for an event
        self._users = 0
        self._free: list[Slot] = []
        memory = pinned(device, self.size)
        try:
            self._free += [self._slot(memory, n) for n in range(slots)]
        except DriverError:
            self._dismantle()
            raise

    def hold(self) -> None:
        """Note a user; the last one to leave closes the ring."""
        with self._changed:
            self._users += 1

    def leave(self) -> None:
        """Note that a user needs no slot any more."""
        with self._changed:
            self._users -= 1
            last = self._users == 0
        if last:
            self._close()

    def slot(self, key: Key, *, begins: bool) -> memoryview:
        """Return the slot in which the calling thread has chunk ``key``.

        Args:
            key: of the chunk.
            begins: whether it comes from its first byte on, for the first time or again.

        Raises:
            DriverError: the copy that was waited for failed, or all slots are held.
        """
        held = self._of_thread.held
        if begins:
            slot = held.pop(key, None)
            if slot is None and len(held) == HELD:
                slot = held.pop(next(iter(held)))
            held[key] = slot or self._take()  # the last in order
        return held[key].memory

    def send(self, key: Key, size: int, address: int) -> Copy:
        """Queue the copy of chunk ``key``, ``size`` bytes, out of the calling thread's slot.

        Raises:
            DriverError: it was not queued, or nobody can say whether it was.
        """
        slot = self._of_thread.held[key]
        stream = self._stream()
        self.device.copy_in(address, slot.memory[:size], stream)
        self.device.record(slot.event, stream)
        copy = slot.copy = Copy(slot.event)
        del self._of_thread.held[key]
        with self._changed:
            self._flying.append(slot)
        return copy

    def finish(self, copy: Copy) -> None:
        """Return when ``copy`` is done; DriverError when the device failed meanwhile.

        Its slot may be in use again by then: that wait is longer than need be, and right.
        """
        with self._changed:
            if copy.done:
                return
            self._waiting += 1
        try:
            self.device.wait(copy.event)
            copy.done = True
        finally:
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()

    def drain(self) -> None:
        """Wait until no copy is on its way, also one that ``send`` failed behind."""
        with self._changed:
            streams = list(self._streams)
        for stream in streams:
            self._try(self.device.drain, stream)

    def _slot(self, memory: memoryview, number: int) -> Slot:
        event = self.device.open_event()
        self._events.append(event)
        return Slot(memory[number * CHUNK_SIZE :][:CHUNK_SIZE], event)

    def _take(self) -> Slot:
        with self._changed:
            if self._free:
                return self._free.pop()
            if not self._flying:
                raise DriverError(f"all {len(self._events)} slots of the ring are held")
            slot = self._flying.popleft()  # ours from here on: nobody else waits to reuse it
        if slot.copy is not None:
            self.finish(slot.copy)
        return slot

    def _stream(self) -> int:
        stream = self._of_thread.stream
        if stream is None:
            stream = self._of_thread.stream = self.device.open_stream()
            with self._changed:
                self._streams.append(stream)
        return stream

    def _close(self) -> None:
        """Wait for what is in flight, then give all back: the device reads from our memory."""
        self.drain()
        with self._changed:
            self._changed.wait_for(lambda: self._waiting == 0)
        self._dismantle()

    def _dismantle(self) -> None:
        """Give back everything that can be, in whatever state the device is.

        The memory goes with the last view of it: a thread may still be in a read into its slot.
        """
        for stream in self._streams:
            self._try(self.device.close_stream, stream)
        for event in self._events:
            self._try(self.device.close_event, event)
        self._streams, self._events = [], []
        self._free.clear()
        self._flying.clear()
        self._of_thread = _OfThread()

    def _try(self, act: Callable[[int], None], given: int) -> None:
        try:
            act(given)
        except DriverError as error:  # a device that failed takes nothing back; go on
            _log.warning("%s: %s", self.device.info, error)
