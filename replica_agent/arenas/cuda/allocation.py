"""Memory of a device, and pinned memory for it, that goes when the last who uses it goes.

An arena holds its allocation, and so does every tensor over it: whoever is last frees it, and
nothing is pulled from under a tensor by closing a pipeline. Pinned memory lasts as long as any view
of it, also that of a thread which is stuck in a read of a dead disk. At the end of the process
nothing is freed one by one: the driver takes all of it back, whatever state its libraries are in.
"""

import ctypes
import logging
import weakref
from collections.abc import Callable

from replica_agent.arenas.cuda.driver import Device, DriverError

_log = logging.getLogger(__name__)


class Allocation:
    """``size`` bytes of a device at ``address``, for as long as this object lives."""

    def __init__(self, device: Device, size: int) -> None:
        """Take the memory; DriverError as ``allocate``."""
        self.device = device
        self.size = size
        self.address = device.allocate(max(size, 1))
        weakref.finalize(self, give_back, device, device.free, self.address).atexit = False


def pinned(device: Device, size: int) -> memoryview:
    """Return ``size`` bytes of host memory that ``device`` reads by itself.

    Raises:
        DriverError: there are not that many.
    """
    address = device.pin(size)
    owner = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(owner, give_back, device, device.unpin, address).atexit = False
    return memoryview(owner).cast("B")


def give_back(device: Device, act: Callable[[int], None], address: int) -> None:
    """Give ``address`` back by ``act``; where that fails the log says so."""
    try:
        act(address)
    except DriverError as error:  # nobody is there to be told: it runs where references end
        _log.warning("memory of %s was not given back: %s", device.info, error)
