"""Pinned host memory of bounded size, and the copies out of it.

    free ──slot()──> held by a lane ──send()──> in flight ──its event──> free
                        └─ another chunk: the same slot, from its beginning

A lane receives a chunk into a slot, which the device can read by itself, and goes on with the
next one while the copy runs. There are as many slots as were asked for and never more: a lane
that finds none free waits for the oldest copy, and so a slow device slows the lanes down. Each
thread has a stream of its own, so that copies do not queue behind each other.

Knows slots, not files; what is in flight at which place is the arena's to know.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from cache_protocol.digests import CHUNK_SIZE
from replica_agent.arenas.cuda.driver import Device, DriverError

_log = logging.getLogger(__name__)
_Given = TypeVar("_Given")


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
    """The slots of one device. Safe for threads; at most as many write as there are slots."""

    def __init__(self, device: Device, slots: int) -> None:
        """Pin ``slots`` chunks.

        Raises:
            DriverError: there is no memory for them, or the device does not answer.
        """
        self.device = device
        self.size = slots * CHUNK_SIZE
        self._changed = threading.Condition()
        self._of_thread = threading.local()
        self._streams: list[int] = []
        self._events: list[int] = []
        self._flying: deque[Slot] = deque()
        self._waiting = 0  # threads that wait for an event
        self._users = 0
        self._free: list[Slot] = []
        self._memory: memoryview | None = device.pin(self.size)
        try:
            self._free += [self._slot(n) for n in range(slots)]
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

    def slot(self) -> memoryview:
        """Return the memory that the calling thread holds; take a slot if it holds none.

        Raises:
            DriverError: the copy that it waited for failed.
        """
        slot: Slot | None = getattr(self._of_thread, "slot", None)
        if slot is None:
            slot = self._of_thread.slot = self._take()
        return slot.memory

    def send(self, size: int, address: int) -> Copy:
        """Queue the copy of the first ``size`` bytes of the calling thread's slot.

        Raises:
            DriverError: it was not queued. The slot is still the thread's.
        """
        slot: Slot = self._of_thread.slot
        stream = self._stream()
        self.device.copy_in(address, slot.memory[:size], stream)
        self.device.record(slot.event, stream)
        copy = slot.copy = Copy(slot.event)
        self._of_thread.slot = None
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

    def _slot(self, number: int) -> Slot:
        assert self._memory is not None, "not closed yet"  # noqa: S101 - a bug of ours
        event = self.device.open_event()
        self._events.append(event)
        return Slot(self._memory[number * CHUNK_SIZE :][:CHUNK_SIZE], event)

    def _take(self) -> Slot:
        with self._changed:
            if self._free:
                return self._free.pop()
            if not self._flying:
                raise DriverError(f"more threads than the ring's {len(self._events)} slots")
            slot = self._flying.popleft()  # ours from here on: nobody else waits to reuse it
        if slot.copy is not None:
            self.finish(slot.copy)
        return slot

    def _stream(self) -> int:
        stream: int | None = getattr(self._of_thread, "stream", None)
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
        """Give back everything that can be, in whatever state the device is."""
        for stream in self._streams:
            self._try(self.device.close_stream, stream)
        for event in self._events:
            self._try(self.device.close_event, event)
        self._streams, self._events = [], []
        self._free.clear()
        self._flying.clear()
        memory, self._memory = self._memory, None
        if memory is not None:
            self._try(self.device.unpin, memory)

    def _try(self, act: Callable[[_Given], None], given: _Given) -> None:
        try:
            act(given)
        except DriverError as error:  # a device that failed takes nothing back; go on
            _log.warning("%s: %s", self.device.info, error)
