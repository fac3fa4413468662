"""The driver and the devices that somebody asked for, each started and opened once."""

import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from cache_protocol.errors import MalformedError
from cache_protocol.units import show_size
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.driver import Device, Driver, DriverError
from replica_agent.ports import HELD

SLOTS = HELD + 1  # of a ring, per lane: those that wait for their digests, and one on its way


@dataclass(slots=True)
class Steps:
    """Seconds that it took to have memory ready on devices."""

    driver: float = 0.0  # it starts, and devices are opened
    memory: float = 0.0  # on devices, and pinned


class Devices:
    """Opens devices. For one thread at a time."""

    def __init__(self, load: Callable[[], Driver] = load_driver) -> None:
        """Start the driver with ``load`` when the first device is opened."""
        self.steps = Steps()
        self._load = load
        self._driver: Driver | None = None
        self._open: dict[int, Device] = {}

    def open(self, *indices: int) -> list[Device]:
        """Return devices, which stay open until they are dropped and nobody uses them.

        Those that are not open yet are opened side by side: each takes a part of a second.

        Raises:
            DriverError: there is no driver, no device at all, or one cannot be used.
            MalformedError: there are devices, and none has an index that was asked for.
        """
        began = time.monotonic()
        driver, missing = self._check(indices), sorted({*indices} - {*self._open})
        if missing:
            with ThreadPoolExecutor(len(missing)) as pool:
                self._open.update(zip(missing, pool.map(driver.open, missing), strict=True))
        self.steps.driver += time.monotonic() - began
        return [self._open[index] for index in indices]

    def _check(self, indices: Collection[int]) -> Driver:
        self._driver = self._driver or self._load()
        count = self._driver.count()
        if count == 0:
            raise DriverError("this host has no device, or shows none to this process")
        for index in indices:
            if index >= count:
                raise MalformedError(
                    f"there is no cuda:{index}: the devices here are 0 to {count - 1}"
                )
        return self._driver

    def drop(self, index: int) -> None:
        """Let go of a device; it is closed once nobody uses its memory any more."""
        self._open.pop(index, None)

    def close(self) -> None:
        """Let go of all devices."""
        self._open.clear()


def check_room(device: Device, need: int, what: str) -> None:
    """Raise DriverError with the numbers, before memory is taken bit by bit and runs out.

    ``what`` needs ``need`` bytes.
    """
    free, total = device.room()
    if need > free:
        raise DriverError(
            f"{what} need {need} bytes ({show_size(need)}) on {device.info}, "
            f"{free} ({show_size(free)}) of {total} are free"
        )
