"""What the device arena needs of a GPU's driver: a handful of calls, as a port.

Addresses, streams and events are plain integers that only their own device understands. Every
call may be made from any thread and leaves the thread's current context as it was: the process
belongs to somebody else, who may have one. A call that fails raises DriverError; after some
errors every later call on the device fails too, also those that give things back.
"""

from dataclasses import dataclass
from typing import Protocol


class DriverError(Exception):
    """The driver refused a call, and its own name of the error is in the text; or there is none."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """Which device this is."""

    index: int  # among those that this process may see
    name: str
    uuid: str  # ``GPU-…``: the same in every process, whatever it sees

    def __str__(self) -> str:
        """Return what people call it."""
        return f"cuda:{self.index} ({self.name}, {self.uuid})"


class Device(Protocol):
    """One device, open for as long as somebody has this object. Safe for threads."""

    @property
    def info(self) -> DeviceInfo:
        """Which one it is."""
        ...

    @property
    def dlpack(self) -> tuple[int, int]:
        """Kind and index of the device in the terms of DLPack."""
        ...

    def room(self) -> tuple[int, int]:
        """Return how many bytes are free, and how many there are."""
        ...

    def allocate(self, size: int) -> int:
        """Return the address of ``size`` bytes, at least 1, of device memory, not cleared.

        It is a multiple of 256, so that any element may stand there.
        """
        ...

    def free(self, address: int) -> None:
        """Give memory back that ``allocate`` gave."""
        ...

    def pin(self, size: int) -> int:
        """Return the address of ``size`` bytes of page-locked host memory."""
        ...

    def unpin(self, address: int) -> None:
        """Give memory back that ``pin`` gave."""
        ...

    def open_stream(self) -> int:
        """Return a queue of work that waits for no other queue."""
        ...

    def drain(self, stream: int) -> None:
        """Wait until everything that is queued in ``stream`` is done."""
        ...

    def close_stream(self, stream: int) -> None:
        """Give up a stream in which nothing is queued."""
        ...

    def open_event(self) -> int:
        """Return a mark that can be put into a stream."""
        ...

    def close_event(self, event: int) -> None:
        """Give an event up, for which nobody waits."""
        ...

    def copy_in(self, address: int, data: memoryview, stream: int) -> None:
        """Queue a copy of ``data``, pinned memory that stays as it is until the copy is done."""
        ...

    def copy_out(self, data: memoryview, address: int) -> None:
        """Fill ``data``, any host memory, from ``address``; done when it returns."""
        ...

    def record(self, event: int, stream: int) -> None:
        """Put ``event`` behind what is queued in ``stream``, wherever it was before."""
        ...

    def wait(self, event: int) -> None:
        """Wait until everything before ``event`` is done; at once if it was never recorded.

        Raises:
            DriverError: also when a copy that was queued anywhere on the device failed.
        """
        ...


class Driver(Protocol):
    """The devices of this host."""

    def count(self) -> int:
        """Return how many devices this process may see; they are 0 to one less."""
        ...

    def open(self, index: int) -> Device:
        """Open a device that exists."""
        ...
