"""Device memory that goes when the last one who uses it goes.

An arena holds its allocation, and so does every tensor over it: whoever is last frees it, and
nothing is pulled from under a tensor by closing a pipeline. At the end of the process nothing is
freed one by one: the driver takes all of it back, whatever state its own libraries are in.
"""

import logging
import weakref

from replica_agent.arenas.cuda.driver import Device, DriverError

_log = logging.getLogger(__name__)


class Allocation:
    """``size`` bytes of a device at ``address``, for as long as this object lives."""

    def __init__(self, device: Device, size: int) -> None:
        """Take the memory; DriverError as ``allocate``."""
        self.device = device
        self.size = size
        self.address = device.allocate(max(size, 1))
        weakref.finalize(self, _free, device, self.address).atexit = False


def _free(device: Device, address: int) -> None:
    try:
        device.free(address)
    except DriverError as error:  # nobody is there to be told: it runs where references end
        _log.warning("memory of %s was not freed: %s", device.info, error)
