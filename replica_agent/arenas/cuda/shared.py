"""Device memory that an agent and an engine have in common, each with a mapping of its own.

    agent                                             engine
    SharedMemory ── descriptor, over the hand-over ──> AdoptedMemory <── tensors over it

Either may end first, in whatever way: the memory is free when both have let go. Nothing here says
what is in it, or when it is whole.
"""

import os
import weakref

from replica_agent.arenas.cuda.allocation import give_back
from replica_agent.arenas.cuda.driver import Device, DriverError


class SharedMemory:
    """``size`` bytes of a device, zeros at first, for as long as this object or a taker lives."""

    def __init__(self, device: Device, size: int) -> None:
        """Take the memory; DriverError as ``share`` and ``clear``."""
        self.device = device
        self.size = max(size, 1)
        self.address, self.descriptor = device.share(self.size)
        self._unmap = weakref.finalize(self, give_back, device, device.unmap, self.address)
        self._unmap.atexit = False
        try:
            device.clear(self.address, self.size)
        except DriverError:
            self.close()
            raise

    def take(self) -> int:
        """Return the descriptor, which is the caller's; the memory is there as long as it is."""
        descriptor, self.descriptor = self.descriptor, -1
        return descriptor

    def close(self) -> None:
        """Unmap the memory, and close the descriptor unless somebody took it.

        Not left to the end of the last reference: an error keeps what it was raised over, and that
        would be the memory that its fallback wants.
        """
        if (descriptor := self.take()) >= 0:
            os.close(descriptor)
        self._unmap()  # the first time


class AdoptedMemory:
    """``size`` bytes that another process shared, for as long as this object lives."""

    def __init__(self, device: Device, descriptor: int, size: int) -> None:
        """Map what ``descriptor``, which stays the caller's, is of; DriverError as ``adopt``."""
        self.device = device
        self.size = max(size, 1)
        self.address = device.adopt(descriptor, self.size)
        weakref.finalize(self, give_back, device, device.unmap, self.address).atexit = False
