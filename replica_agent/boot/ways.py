"""The three ways in which weights reach an engine: from our memory, as files, from the origin.

A way is started, prepares directories for COMMAND, is asked whether the engine has taken its
weights, gives them up, and is closed. What is common to the first two is the pull.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

from cache_protocol.errors import CacheError, GenerationGoneError
from cache_protocol.manifest import CACHE, Manifest
from replica_agent.arenas.host import HostMemory
from replica_agent.boot import places
from replica_agent.boot.home import Home
from replica_agent.boot.options import Options
from replica_agent.boot.record import Record
from replica_agent.boot.remembered import recall, remember
from replica_agent.boot.small import is_small, wait_for_small_files, write_small_files
from replica_agent.client import ControlClient
from replica_agent.engines.files import FilesPlace
from replica_agent.handover.messages import Outcome
from replica_agent.handover.place import Origin, Place, write_place
from replica_agent.handover.server import Consumer, HandoverServer
from replica_agent.origin import Wanted, bring
from replica_agent.ports import OpenArenas
from replica_agent.pull import Pull
from replica_agent.report import Boot
from replica_agent.settings import Settings
from replica_agent.transfer import Transfer

ORIGIN = "origin"  # in a report, who gave the weights
_HANDOVER = ".handover"  # a directory beside the models, whose names never begin with a dot


@dataclass(frozen=True, slots=True)
class Trip:
    """What every way of one boot shares."""

    options: Options
    settings: Settings
    home: Home
    record: Record

    @property
    def state(self) -> Path:
        """Where manifests are remembered."""
        return places.state_dir(self.settings.state_dir)

    def disk_for(self, need: int) -> Path | None:
        """Return a local disk with room for ``need`` bytes."""
        return places.disk_for(need, self.settings.state_dir)


class Way(Protocol):
    """One way. ``close`` is called in every case, also after a failure."""

    in_place: bool  # whether an engine finds everything when it starts

    @property
    def pull(self) -> Boot:
        """What is known of the pull so far."""
        ...

    def prepare(self) -> dict[str, Path]:
        """Wait until COMMAND may start; return the directory of every model.

        Raises:
            CacheError: it will not work this way.
        """
        ...

    def taken(self, timeout: float) -> bool:
        """Wait ``timeout`` seconds; return whether every model was taken by the engine."""
        ...

    def note_load(self, started: float) -> None:
        """Note in the record what is known of the load of an engine that started then."""
        ...

    def release(self) -> None:
        """Give the weights up; what an engine looks at stays valid for it."""
        ...

    def close(self) -> None:
        """End everything and remove what is on disk."""
        ...


class _Pulling:
    """A pull under way, and patience with the node's first answer."""

    def __init__(self, trip: Trip, open_arenas: OpenArenas, device: str) -> None:
        options, settings = trip.options, trip.settings
        self._trip = trip
        self._device = device
        self._client = ControlClient(settings.server, settings.token)
        self.pulling = Pull(
            self._client,
            options.pipeline,
            open_arenas,
            lanes=options.lanes,
            patience=options.patience,
            origin=trip.record.born,
        ).start()

    @property
    def pull(self) -> Boot:
        """Implement ``Way``."""
        return self.pulling.boot(self._device, self._trip.record.started)

    def small_files(self) -> Transfer:
        """Wait for the small files of every model, and remember the manifest."""
        with self._patience():
            self.pulling.transfer()
        transfer = wait_for_small_files(self.pulling)
        if transfer.manifest.source != CACHE:
            self._trip.record.served_by(transfer.manifest.source, transfer.manifest.reason)
        try:
            remember(self._trip.state, transfer.manifest)
        except OSError as error:
            self._trip.record.notes.append(f"the manifest could not be remembered: {error}")
        return transfer

    @contextmanager
    def _patience(self) -> Iterator[None]:
        watchdog = threading.Timer(self._trip.options.patience, self._client.close)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()


class MemoryWay(_Pulling):
    """Hand weights over in memory while they arrive; COMMAND starts with the small files."""

    in_place = False

    def __init__(self, trip: Trip) -> None:
        """Start the pull."""
        self._memory = HostMemory(trip.settings.memory_limit, trip.disk_for)
        self._server: HandoverServer | None = None
        super().__init__(trip, self._memory.open_arenas, _host_device(trip.options.device))

    def prepare(self) -> dict[str, Path]:
        """Implement ``Way``."""
        transfer, directories = self._write()
        home = self._trip.home.path
        self._server = HandoverServer(self.pulling, self._memory, home / _HANDOVER).start()
        for name, directory in directories.items():
            write_place(directory, self._place(transfer.manifest, name))
        if self._memory.on_disk:
            self._trip.record.notes.append("memory does not suffice: the weights are on local disk")
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
        self.pulling.close()
        if self._server is not None:
            self._server.close()
        self._memory.forget()

    def close(self) -> None:
        """Implement ``Way``."""
        self.release()

    def _write(self) -> tuple[Transfer, dict[str, Path]]:
        while True:
            transfer = self.small_files()
            try:
                home = self._trip.home.path
                return transfer, write_small_files(transfer, self._memory, home)
            except GenerationGoneError:
                if transfer.successor is None:
                    raise

    def _place(self, manifest: Manifest, name: str) -> Place:
        model = manifest.models[name]
        origins = self._trip.options.origins or {}
        source, revision = model.source, model.revision
        if name in origins:
            source, revision = origins[name], ""
        known_revision = revision if source.startswith("hf://") and revision else None
        return Place(
            socket=self._handover.path,
            model=name,
            pipeline=manifest.pipeline,
            generation=manifest.generation,
            fallback=cast("Literal['origin', 'fail']", self._trip.settings.fallback),
            origin=Origin(source, known_revision),
        )

    def _note_outcome(self, known: tuple[Consumer, ...]) -> None:
        record = self._trip.record
        for consumer in known:
            why = f"{consumer.model}: {consumer.reason or 'no reason was given'}"
            if consumer.outcome is Outcome.ORIGIN:
                record.served_by(ORIGIN, why)
            elif consumer.outcome is Outcome.FAILED:
                record.fail(why)

    @property
    def _handover(self) -> HandoverServer:
        assert self._server is not None, "prepared before"  # noqa: S101 - a bug of ours
        return self._server


class FilesWay(_Pulling):
    """Whole, verified files; COMMAND starts when all are there."""

    in_place = True

    def __init__(self, trip: Trip) -> None:
        """Start the pull."""
        self._files = FilesPlace(
            trip.home.path,
            trip.options.pipeline,
            limit=trip.settings.memory_limit,
            state=trip.settings.state_dir,
            tmpfs=trip.options.tmpfs,
        )
        super().__init__(trip, self._files.open_arenas, "files")

    def prepare(self) -> dict[str, Path]:
        """Implement ``Way``; from the small files on the engine waits for nothing but bytes."""
        self.small_files()
        could_start = time.monotonic()
        self.pulling.wait()
        record = self._trip.record
        record.weight_wait = time.monotonic() - could_start
        record.phase("weight-wait", could_start, could_start + record.weight_wait)
        record.notes.append(f"weights are files: {self._files.kind}")
        manifest = self.pulling.transfer().manifest
        directories = self._files.publish(manifest)
        self.pulling.close()  # the lanes' buffers go; files of ours stay open
        return directories

    def taken(self, timeout: float) -> bool:
        """Implement ``Way``: nobody tells us."""
        time.sleep(timeout)
        return False

    def note_load(self, started: float) -> None:
        """Implement ``Way``: an engine that reads files does not show when it does."""

    def release(self) -> None:
        """Implement ``Way``: small files stay, an engine may read them at any time."""
        self._files.drop(lambda path, size: not is_small(path, size))

    def close(self) -> None:
        """Implement ``Way``."""
        self.pulling.close()
        self._files.close()


class OriginWay:
    """Around the cache: the replica's own credentials, a real directory, whole files."""

    in_place = True

    def __init__(self, trip: Trip, why: Exception, pull: Boot) -> None:
        """Go this way because of ``why``, which ended the ``pull``."""
        self._pull = pull
        self._trip = trip
        self._why = why
        self._room: Home | None = None

    @property
    def pull(self) -> Boot:
        """Implement ``Way``."""
        return self._pull

    def prepare(self) -> dict[str, Path]:
        """Implement ``Way``."""
        wanted = self._wanted()
        began = time.monotonic()
        directories = {name: self._bring(name, each) for name, each in wanted.items()}
        record = self._trip.record
        record.phase("pull", began, time.monotonic())
        record.weight_wait = time.monotonic() - began
        record.served_by(ORIGIN, str(self._why) or repr(self._why))
        return directories

    def taken(self, timeout: float) -> bool:
        """Implement ``Way``: nobody tells us."""
        time.sleep(timeout)
        return False

    def note_load(self, started: float) -> None:
        """Implement ``Way``: nothing is known."""

    def release(self) -> None:
        """Implement ``Way``: there is no memory of ours."""

    def close(self) -> None:
        """Implement ``Way``."""
        if self._room is not None:
            self._room.close()

    def _wanted(self) -> Mapping[str, Wanted]:
        options = self._trip.options
        told = {name: Wanted(source) for name, source in (options.origins or {}).items()}
        wanted = {**recall(self._trip.state, options.pipeline), **told}
        if not wanted:
            kind = type(self._why) if isinstance(self._why, CacheError) else CacheError
            raise kind(
                f"{self._why}; and no origin of {options.pipeline} is known on this host: "
                "say --origin NAME=SOURCE"
            ) from self._why
        return wanted

    def _bring(self, name: str, wanted: Wanted) -> Path:
        directory = self._trip.home.path / name
        directory.mkdir(parents=True, exist_ok=True)
        revision = wanted.revision if wanted.source.startswith("hf://") else None
        bring(Wanted(wanted.source, revision, wanted.files), directory, self._disk() / name)
        return directory

    def _disk(self) -> Path:
        """Return a directory of our own on a local disk, or in the home where there is none."""
        if self._room is None:
            disk = self._trip.disk_for(0)
            if disk is None:
                return self._trip.home.path / ".origin"
            self._room = Home(disk / places.own_name(), self._trip.options.pipeline)
        return self._room.path


def _host_device(device: str) -> str:
    return "cpu" if device == "auto" else device
