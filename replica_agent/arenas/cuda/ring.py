"""Pinned host memory of bounded size, and the copies out of it.

    free ──slot()──> held by a lane, for a chunk ──send()──> in flight ──its event──> free
                        └─ the lane holds HELD already: the one that it began first, afresh

A lane receives a chunk into a slot, which the device can read by itself, and goes on with the
next one while the copy runs. There are as many slots as were asked for and never more: a lane
that finds none free waits for the oldest copy, and so a slow device slows the lanes down. Each
thread has a stream of its own on each device, so that copies do not queue behind each other.

Several devices may read one slot, each what is for it; it is free when the last of them has done.
Knows chunks by a key, not files; what is in flight at which place is the arena's to know.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from cache_protocol.digests import CHUNK_SIZE
from replica_agent.arenas.cuda.allocation import pinned
from replica_agent.arenas.cuda.driver import Device, DriverError
from replica_agent.ports import HELD

_log = logging.getLogger(__name__)
Key = tuple[int, int, int]  # of a chunk, whichever three numbers tell it from others
Queue = Callable[[memoryview, int], None]  # put copies out of a slot's memory into a stream


class _OfThread(threading.local):
    """What one thread has."""

    def __init__(self) -> None:
        self.streams: dict[int, int] = {}  # by the number of their device
        self.held: dict[Key, Slot] = {}  # in the order in which it began them


class Copy:
    """What is on its way out of one slot."""

    def __init__(self, events: Sequence[tuple[Device, int]]) -> None:
        """Be done when ``events`` are."""
        self.events = events
        self.done = not events

    def forget(self) -> None:
        """Refer to devices no longer, which are open as long: nobody waits for events any more."""
        self.events = ()


class Slot:
    """One chunk's worth of pinned memory."""

    def __init__(self, memory: memoryview, events: Sequence[int]) -> None:
        """Use ``events``, one for each device, for every copy out of ``memory``."""
        self.memory = memory
        self.events = events
        self.copy: Copy | None = None  # the last one


class Ring:
    """The slots of some devices. Safe for threads; it takes HELD slots for each that writes."""

    def __init__(self, devices: Sequence[Device], slots: int) -> None:
        """Pin ``slots`` chunks, which each of ``devices`` reads.

        Raises:
            DriverError: there is no memory for them, or a device does not answer.
        """
        self.devices = devices
        self.size = slots * CHUNK_SIZE
        self._changed = threading.Condition()
        self._of_thread = _OfThread()
        self._streams: list[tuple[Device, int]] = []
        self._events: list[tuple[Device, int]] = []
        self._flying: deque[Slot] = deque()
        self._waiting = 0  # threads that wait for an event
        self._users = 0
        self._closed = False
        self._free: list[Slot] = []
        memory = pinned(devices[0], self.size)
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

    def send(self, key: Key, queues: Mapping[int, Queue]) -> Copy:
        """Have copies of chunk ``key`` queued out of the calling thread's slot.

        Args:
            key: of the chunk.
            queues: what queues them, by the number of the device among ``devices``.

        Raises:
            DriverError: one was not queued, or nobody can say whether it was.
        """
        slot = self._of_thread.held[key]
        events = [self._queue(number, slot, queue) for number, queue in queues.items()]
        copy = slot.copy = Copy(events)
        del self._of_thread.held[key]
        with self._changed:
            (self._flying if events else self._free).append(slot)
        return copy

    def finish(self, copy: Copy) -> bool:
        """Wait until ``copy`` is done; False when the ring was closed before anybody saw that.

        Its slot may be in use again by then: that wait is longer than need be, and right.

        Raises:
            DriverError: a device failed meanwhile.
        """
        with self._changed:
            if copy.done or self._closed:
                return copy.done
            self._waiting += 1
        try:
            for device, event in copy.events:
                with self._naming(device):
                    device.wait(event)
            copy.done = True
            copy.forget()
        finally:
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()
        return True

    def drain(self) -> None:
        """Wait until no copy is on its way, also one that ``send`` failed behind."""
        with self._changed:
            streams = list(self._streams)
        for device, stream in streams:
            _try(device, device.drain, stream)

    def _slot(self, memory: memoryview, number: int) -> Slot:
        events: list[int] = []
        for device in self.devices:
            with self._naming(device):
                events.append(device.open_event())
            self._events.append((device, events[-1]))
        return Slot(memory[number * CHUNK_SIZE :][:CHUNK_SIZE], events)

    def _take(self) -> Slot:
        with self._changed:
            if self._free:
                return self._free.pop()
            if not self._flying:
                raise DriverError(f"all {self.size // CHUNK_SIZE} slots of the ring are held")
            slot = self._flying.popleft()  # ours from here on: nobody else waits to reuse it
        if slot.copy is not None:
            self.finish(slot.copy)
        return slot

    def _queue(self, number: int, slot: Slot, queue: Queue) -> tuple[Device, int]:
        device, event = self.devices[number], slot.events[number]
        with self._naming(device):
            stream = self._stream(number)
            queue(slot.memory, stream)
            device.record(event, stream)
        return device, event

    def _stream(self, number: int) -> int:
        streams = self._of_thread.streams
        if number not in streams:
            streams[number] = self.devices[number].open_stream()
            with self._changed:
                self._streams.append((self.devices[number], streams[number]))
        return streams[number]

    def _close(self) -> None:
        """Wait for what is in flight, then give all back: the device reads from our memory."""
        self.drain()
        with self._changed:
            self._closed = True  # who comes from now on finds no event to wait for
            self._changed.wait_for(lambda: self._waiting == 0)
        self._dismantle()

    def _dismantle(self) -> None:
        """Give back everything that can be, in whatever state the device is.

        The memory goes with the last view of it: a thread may still be in a read into its slot.
        """
        for device, stream in self._streams:
            _try(device, device.close_stream, stream)
        for device, event in self._events:
            _try(device, device.close_event, event)
        self._streams, self._events = [], []
        self.devices = ()
        for slot in self._flying:
            if slot.copy is not None:
                slot.copy.forget()
        self._free.clear()
        self._flying.clear()
        self._of_thread = _OfThread()

    @contextmanager
    def _naming(self, device: Device) -> Iterator[None]:
        """Say which device an error is of, where there are several."""
        try:
            yield
        except DriverError as error:
            if len(self.devices) == 1:
                raise
            raise DriverError(f"{device.info}: {error}") from error


def _try(device: Device, act: Callable[[int], None], given: int) -> None:
    try:
        act(given)
    except DriverError as error:  # a device that failed takes nothing back; go on
        _log.warning("%s: %s", device.info, error)
