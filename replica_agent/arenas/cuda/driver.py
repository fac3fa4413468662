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

    def share(self, size: int) -> tuple[int, int]:
        """Return the address of ``size`` bytes of device memory, and a descriptor of them.

        The descriptor is the caller's, who passes it on and closes it. The memory lasts as long as
        a mapping or a descriptor of it does, in any process. It is not cleared.
        """
        ...

    def adopt(self, descriptor: int, size: int) -> int:
        """Return the address of ``size`` bytes that another process, or this one, has shared.

        The descriptor stays the caller's; the mapping does not need it any more.
        """
        ...

    def unmap(self, address: int) -> None:
        """Give up a mapping that ``share`` or ``adopt`` made."""
        ...

    def clear(self, address: int, size: int) -> None:
        """Fill device memory with zeros; done when it returns."""
        ...

    def pin(self, size: int) -> int:
        """Return the address of ``size`` bytes of page-locked host memory, for every device."""
        ...

    def unpin(self, address: int) -> None:
        """Give memory back that ``pin`` gave."""
        ...

    def register(self, data: memoryview) -> None:
        """Page-lock ``data``, whole pages of host memory that are there already, only read or not.

        Copies out of it run at full speed then; one that begins in it must end in it.
        """
        ...

    def unregister(self, data: memoryview) -> None:
        """Undo ``register``, once nothing that is queued on the device can read ``data``."""
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

    def copy_in_2d(  # noqa: PLR0913, PLR0917 - two places, each with its step
        self,
        address: int,
        stride: int,
        data: memoryview,
        pitch: int,
        run: int,
        runs: int,
        stream: int,
    ) -> None:
        """Queue a copy of ``runs`` runs of ``run`` bytes each, out of pinned memory.

        Args:
            address: where the first run goes.
            stride: bytes from one run's beginning to the next one's there; ``run`` or more.
            data: pinned memory that begins with the first run; it stays until the copy is done.
            pitch: as ``stride``, in ``data``.
            run: bytes.
            runs: how many, at least 1.
            stream: where it is queued.
        """
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

    def find(self, uuid: str) -> int:
        """Return the index of the device with that UUID, without opening any.

        Raises:
            DriverError: this process may see none that has it.
        """
        ...

    def open(self, index: int) -> Device:
        """Open a device that exists."""
        ...
