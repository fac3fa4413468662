"""Around the cache: the models' own origin, with the replica's own credentials."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from cache_protocol.errors import CacheError
from replica_agent.boot import places
from replica_agent.boot.home import Home
from replica_agent.boot.remembered import recall
from replica_agent.boot.ways import ORIGIN, Trip
from replica_agent.origin import Wanted, bring
from replica_agent.report import Boot


class OriginWay:
    """Around the cache: the replica's own credentials, a real directory, whole files."""

    in_place = True
    on_device = False

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

    def leave(self) -> Iterable[str]:
        """Implement ``Way``: nothing was learned."""
        return ()

    def hasten(self) -> None:
        """Implement ``Way``: nothing takes long."""

    def release(self) -> None:
        """Implement ``Way``: there is no memory of ours."""

    def settle(self) -> None:
        """Implement ``Way``: nothing of ours is on a device."""

    def close(self) -> None:
        """Implement ``Way``."""
        if self._room is not None:
            self._room.close()

    def _wanted(self) -> Mapping[str, Wanted]:
        options = self._trip.options
        told = {
            name: Wanted(source, allow=options.allow)
            for name, source in (options.origins or {}).items()
        }
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
        if not wanted.source.startswith("hf://"):
            wanted = replace(wanted, revision=None)
        bring(wanted, directory, self._disk() / name)
        return directory

    def _disk(self) -> Path:
        """Return a directory of our own on a local disk, or in the home where there is none."""
        if self._room is None:
            disk = self._trip.disk_for(0)
            if disk is None:
                return self._trip.home.path / ".origin"
            self._room = Home(disk / places.own_name(), self._trip.options.pipeline)
        return self._room.path
