"""The models of one pipeline where they were asked for: on devices, in host memory, or both.

    {"llm": "cuda:0", "tts": "cuda:1", "vad": "cpu"}

A device that cannot be used, for whatever reason, has its models brought to host memory instead,
and ``notes`` says why: a start goes on. A device that fails in the middle loses what is on it;
the pull then asks for arenas again, and gets them in host memory. An index that no device has
is a mistake of the caller, and an error.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from cache_protocol.manifest import Manifest, Model
from replica_agent.arenas.cuda.arena import CudaArena
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.devices import SLOTS, Devices, Steps, check_room
from replica_agent.arenas.cuda.driver import Device, Driver, DriverError
from replica_agent.arenas.cuda.ring import Ring
from replica_agent.arenas.host import HostMemory, place_files
from replica_agent.core.devices import Placement
from replica_agent.ports import Arena


class DeviceMemory:
    """Makes the arenas of one pipeline, for one generation after the other."""

    def __init__(
        self,
        placement: Placement,
        host: HostMemory,
        lanes: int,
        load: Callable[[], Driver] = load_driver,
    ) -> None:
        """Place models as ``placement`` says, and what finds no place there in ``host``.

        Args:
            placement: which model goes where.
            host: for models on the CPU, and for those whose device cannot be used.
            lanes: threads that write at once; a ring has SLOTS for each.
            load: starts the driver; called when the first device is opened.
        """
        self._placement = placement
        self._host = host
        self._slots = SLOTS * lanes
        self._devices = Devices(load)
        self._failed: dict[int, str] = {}
        self._lock = threading.Lock()  # of the two above

    @property
    def steps(self) -> Steps:
        """Where the time went."""
        return self._devices.steps

    @property
    def notes(self) -> list[str]:
        """What an operator should know: each device that is not used, and why."""
        with self._lock:
            return [
                f"cuda:{index} is not used, its weights come in host memory: {why}"
                for index, why in sorted(self._failed.items())
            ]

    def open_arenas(self, manifest: Manifest) -> Mapping[str, Arena]:
        """Make an arena per model; an ``OpenArenas``.

        Raises:
            MalformedError: a device or a model that does not exist was named.
            CapacityError: what goes to host memory does not fit there.
        """
        self._placement.check(manifest.models)
        arenas: dict[str, Arena] = {}
        try:
            for index in self._placement.indices(manifest.models):
                arenas |= self._on_device(index, manifest)
            rest = {name: m for name, m in manifest.models.items() if name not in arenas}
            arenas |= self._host.open_arenas(replace(manifest, models=rest)) if rest else {}
        except Exception:
            for arena in arenas.values():
                arena.close()
            raise
        return arenas

    def _on_device(self, index: int, manifest: Manifest) -> dict[str, CudaArena]:
        """Return the arenas of a device's models; none when it cannot be used."""
        if index in self._failed:
            return {}
        models = {n: m for n, m in manifest.models.items() if self._placement.index(n) == index}
        try:
            (device,) = self._devices.open(index)
            began = time.monotonic()
            arenas = self._take(index, device, models)
            self.steps.memory += time.monotonic() - began
        except DriverError as error:
            self._lose(index, error)
            return {}
        return arenas

    def _take(
        self, index: int, device: Device, models: Mapping[str, Model]
    ) -> dict[str, CudaArena]:
        need = sum(place_files([f.size for f in model.files])[-1] for model in models.values())
        check_room(device, need, ", ".join(models))
        ring = Ring((device,), self._slots)
        ring.hold()  # until all arenas do
        arenas: dict[str, CudaArena] = {}
        try:
            for name, model in models.items():
                arenas[name] = CudaArena(model, ring, lambda error: self._lose(index, error))
        except DriverError:
            for arena in arenas.values():
                arena.close()
            raise
        finally:
            ring.leave()
        return arenas

    def _lose(self, index: int, error: DriverError) -> None:
        with self._lock:
            self._failed.setdefault(index, str(error))
            self._devices.drop(index)
