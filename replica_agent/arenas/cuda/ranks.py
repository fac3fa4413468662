"""The devices of an engine's ranks, and arenas that are laid out on them: a ``Layer``.

    "cuda:0,2"      rank 0 on device 0, rank 1 on device 2; "cuda", "auto": rank n on device n

A device that cannot be used, for whatever reason, is an error that says which and why, before the
first byte; whoever asked brings plain files then. One that fails in the middle loses its arena,
and ``notes`` says so.

An open device has a context there, of hundreds of megabytes, and an engine that measures what is
free takes it for a mistake when that grows by another's doing. One that was lent memory, of
whichever model, may be measuring until it is ready. So devices are let go of when all models have
arrived and nothing was lent; else by whoever sees that the engine is ready.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import CacheError
from cache_protocol.manifest import Model
from cache_protocol.plans import Plan
from replica_agent.arenas.by_plan import Layer
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.devices import SLOTS, Devices, Steps, check_room
from replica_agent.arenas.cuda.driver import Device, Driver, DriverError
from replica_agent.arenas.cuda.laid_out import DeviceShards
from replica_agent.arenas.laid_out import room_for
from replica_agent.core.devices import rank_device


class RankDevices:
    """Makes the arenas of one boot on the devices that ``word`` gives to ranks."""

    def __init__(self, word: str, lanes: int, load: Callable[[], Driver] = load_driver) -> None:
        """Use ``word``, ``cuda…`` or ``auto``; no driver is started yet.

        Args:
            word: as above.
            lanes: threads that write at once; a ring has SLOTS for each.
            load: starts the driver.
        """
        self.notes: list[str] = []  # what an operator should know
        self.layer = Layer(self.make, self.room, word, self.let_go)
        self._word = word
        self._slots = SLOTS * lanes
        self._devices = Devices(load)
        self._changed = threading.Lock()
        self._arriving = 0  # arenas that need the devices
        self._lent = False

    @property
    def steps(self) -> Steps:
        """Where the time went."""
        return self._devices.steps

    def unusable(self, ranks: Sequence[int]) -> str | None:
        """Open the devices of ``ranks``; return what prevents that, None where nothing does."""
        try:
            self._open(ranks)
        except (CacheError, DriverError) as error:
            self.let_go()
            return str(error)
        return None

    def make(self, name: str, model: Model, plans: Sequence[Plan]) -> DeviceShards:
        """Return an arena of ``model`` on the devices of the plans' ranks.

        Raises:
            CacheError: a device is not there, is busy, has too little memory, or fails.
            OSError: the kernel refuses memory on the host.
        """
        try:
            devices = self._open([plan.key.rank for plan in plans])
            began = time.monotonic()
            _check_rooms(name, plans, devices)
            arena = DeviceShards(name, model, plans, devices, self._slots, self)
            self.steps.memory += time.monotonic() - began
        except DriverError as error:
            self.let_go()
            raise CacheError(f"{self._word} cannot be used: {error}") from error
        with self._changed:
            self._arriving += 1
        return arena

    def room(self, model: Model, plans: Sequence[Plan]) -> int:
        """Return the bytes that such an arena takes of the host's memory, its ring included."""
        kept = room_for(model, plans) - sum(plan.size for plan in plans)
        return kept + self._slots * CHUNK_SIZE

    def lose(self, error: DriverError) -> None:
        """Implement ``Owner``."""
        note = f"{self._word} failed, its weights come in host memory: {error}"
        if note not in self.notes:
            self.notes.append(note)

    def lend(self) -> None:
        """Implement ``Owner``."""
        with self._changed:
            self._lent = True

    def leave(self) -> None:
        """Implement ``Owner``."""
        with self._changed:
            self._arriving -= 1
            if self._arriving == 0 and not self._lent:
                self.let_go()

    def let_go(self) -> None:
        """Keep the devices open no longer than an arena needs them."""
        self._devices.close()

    def _open(self, ranks: Sequence[int]) -> list[Device]:
        return self._devices.open(*(rank_device(self._word, rank) for rank in ranks))


def _check_rooms(name: str, plans: Sequence[Plan], devices: Sequence[Device]) -> None:
    need: Counter[Device] = Counter()
    for plan, device in zip(plans, devices, strict=True):
        need[device] += plan.size
    for device, size in need.items():
        check_room(device, size, f"the ranks of {name}")
