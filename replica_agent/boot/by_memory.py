"""Hand weights over in memory, while they arrive, to an engine that knows our load format.

The pull's first request waits for as few imports as may be: the others come while the manifest
travels.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from cache_protocol.errors import CacheError
from cache_protocol.formats import hazard
from cache_protocol.manifest import CACHE, Manifest, Model
from cache_protocol.units import show_size
from replica_agent.boot.small import write_small_files
from replica_agent.boot.ways import ORIGIN, Pulling, Trip
from replica_agent.client import ControlClient
from replica_agent.handover.consumers import Consumer
from replica_agent.handover.messages import Outcome
from replica_agent.handover.place import Origin, Place, write_place
from replica_agent.ports import Arena
from replica_agent.report import Boot, noted
from replica_agent.transfer import Transfer

if TYPE_CHECKING:
    from replica_agent.handover.server import HandoverServer

_HANDOVER = ".handover"  # a directory beside the models, whose names never begin with a dot


class MemoryWay(Pulling):
    """Hand weights over in memory while they arrive; COMMAND starts with the small files."""

    in_place = False

    def __init__(self, trip: Trip) -> None:
        """Start the pull, and get ready for what it brings."""
        self._server: HandoverServer | None = None
        self._getting_ready = threading.Lock()  # a manifest may be faster than our imports
        with self._getting_ready:
            super().__init__(trip, self._open_arenas, _host_device(trip.options.device))
            self._get_ready(trip)

    def _get_ready(self, trip: Trip) -> None:
        from replica_agent.arenas.by_plan import LaidOutMemory  # noqa: PLC0415 - see above
        from replica_agent.boot.leaving import Leaving  # noqa: PLC0415
        from replica_agent.boot.planned import Planned  # noqa: PLC0415
        from replica_agent.handover.server import HandoverServer  # noqa: PLC0415

        ask = partial(ControlClient.of, trip.settings)
        self._planned = Planned(trip.options, ask)
        self._leaving = Leaving(ask)
        self._new_server = HandoverServer
        self._memory = LaidOutMemory(
            trip.settings.memory_limit,
            trip.disk_for,
            self._planned.choose,
            held=lambda: self._server.held if self._server else 0,
        )

    def _open_arenas(self, manifest: Manifest) -> Mapping[str, Arena]:
        """Implement ``OpenArenas``, in the thread of the pull."""
        with self._getting_ready:
            memory = self._memory
        return memory.open_arenas(manifest)

    @property
    def on_device(self) -> bool:
        """Implement ``Way``."""
        return self._memory.device.startswith("cuda")

    @property
    def pull(self) -> Boot:
        """Implement ``Way``: the report says how weights came, and why so."""
        boot, memory = super().pull, self._memory
        remarks = self._server.remarks if self._server else ()
        disk = ("memory does not suffice: the weights are on local disk",) if memory.on_disk else ()
        notes = (*boot.notes, *disk, *memory.notes, *self._planned.notes, *remarks)
        device = memory.device if self.on_device else boot.device
        return replace(boot, device=device, notes=notes)

    def prepare(self) -> dict[str, Path]:
        """Implement ``Way``."""
        transfer, directories = self._write()
        home = self._trip.home.path
        self._server = self._new_server(self.pulling, home / _HANDOVER).start()
        for name, directory in directories.items():
            write_place(directory, self._place(transfer.manifest, name))
        return directories

    def taken(self, timeout: float) -> bool:
        """Implement ``Way``."""
        try:
            return self._handover.wait_consumed(timeout)
        except CacheError:  # the pull failed: the engine's loader acts on that
            time.sleep(timeout)
            return False

    def note_load(self, started: float) -> None:
        """Implement ``Way``: several ranks or models count as one load."""
        known = self._handover.consumers if self._server else ()
        record = self._trip.record
        if known:
            first = min(c.attached for c in known)
            record.phase("engine-import", started, first)
            record.phase("load", first, max(c.attached + c.seconds for c in known))
            record.weight_wait = max(c.waited for c in known)
            record.phase("weight-wait", first, first + record.weight_wait)
        self._note_outcome(known)

    def release(self) -> None:
        """Implement ``Way``."""
        self._memory.hasten()
        self.pulling.close()
        if self._server is not None:
            self._server.close()
        self._memory.forget()

    def settle(self) -> None:
        """Implement ``Way``: an engine that measures ends when it sees room come back."""
        self._planned.release()

    def close(self) -> None:
        """Implement ``Way``."""
        self.release()
        self._planned.release()

    def leave(self) -> Iterator[str]:
        """Implement ``Way``: the engine's own plans, for the next replica."""
        sent = self._server.plans if self._server else ()
        transfer = self.pulling.current
        if sent and transfer is not None and transfer.manifest.source == CACHE:
            yield from self._leaving.leave(sent, transfer.manifest)

    def hasten(self) -> None:
        """Implement ``Way``."""
        self._leaving.close()

    def _write(self) -> tuple[Transfer, dict[str, Path]]:
        while True:
            transfer = self.small_files()
            directories = write_small_files(transfer, self._trip.home.path)
            if not transfer.replaced:
                return transfer, directories

    def _place(self, manifest: Manifest, name: str) -> Place:
        options = self._trip.options
        told = (options.origins or {}).get(name)
        return Place(
            socket=self._handover.path,
            model=name,
            pipeline=manifest.pipeline,
            generation=manifest.generation,
            fallback=cast("Literal['origin', 'fail']", self._trip.settings.fallback),
            origin=Origin(told, allow=options.allow) if told else _origin(manifest.models[name]),
        )

    def _note_outcome(self, known: tuple[Consumer, ...]) -> None:
        record = self._trip.record
        record.notes += adopted(known)
        record.notes += copied(known)
        for consumer in known:
            why = f"{consumer.model}: {consumer.reason or 'no reason was given'}"
            if consumer.outcome is Outcome.ORIGIN:
                record.served_by(ORIGIN, why)
            elif consumer.outcome is Outcome.FAILED:
                record.fail(why)

    @property
    def _handover(self) -> "HandoverServer":
        assert self._server is not None, "prepared before"  # noqa: S101 - a bug of ours
        return self._server


def adopted(known: Iterable[Consumer]) -> Iterator[str]:
    """Yield how much of its models the engine has where it arrived, and which those are."""
    adopting = [each for each in known if each.adopted]
    if adopting:
        size = show_size(sum(each.adopted for each in adopting))
        words = f"{size} of parameters are where they arrived, without a copy"
        yield from noted((each.model, words) for each in adopting)


def copied(known: Iterable[Consumer]) -> list[str]:
    """Return for each model out of which memory its GPUs copied, as far as that was told."""
    return noted((each.model, each.copied) for each in known if each.copied)


def _origin(model: Model) -> Origin:
    """Return where a model of a manifest is from; what it holds was allowed by its owner."""
    if model.source.startswith("hf://"):  # whose revisions stay as they are
        return Origin(model.source, model.revision, tuple(f.path for f in model.files))
    found = {known for f in model.files if (known := hazard(f.path))}
    return Origin(model.source, allow=tuple(sorted(found)))


def _host_device(device: str) -> str:
    return "cpu" if device == "auto" else device
