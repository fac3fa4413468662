"""What a way of bringing weights to an engine is, and what those with a pull have in common.

    by_memory    handed over while they arrive       by_files    whole, verified files
    by_origin    around the cache, when neither works

A way is started, prepares directories for COMMAND, is asked whether the engine has taken its
weights, gives them up, settles once the engine is ready, and is closed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cache_protocol.manifest import CACHE
from replica_agent.boot import places
from replica_agent.boot.home import Home
from replica_agent.boot.options import Options
from replica_agent.boot.record import Record
from replica_agent.boot.remembered import remember
from replica_agent.boot.small import wait_for_small_files
from replica_agent.client import ControlClient
from replica_agent.ports import OpenArenas
from replica_agent.pull import Pull
from replica_agent.report import Boot
from replica_agent.settings import Settings
from replica_agent.transfer import Transfer

ORIGIN = "origin"  # in a report, who gave the weights


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
    def on_device(self) -> bool:
        """Whether weights are on their GPUs already when the engine takes them."""
        ...

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

    def leave(self) -> Iterable[str]:
        """Leave with the node what helps the next replica; yield what prevents that.

        After ``release``: it may take a while, and nobody waits for it.
        """
        ...

    def hasten(self) -> None:
        """End ``leave``, from another thread: COMMAND has ended, and its exit code waits."""
        ...

    def release(self) -> None:
        """Give the weights up; what an engine looks at stays valid for it."""
        ...

    def settle(self) -> None:
        """Give up what had to stay until the engine was ready; it has measured its memory now."""
        ...

    def close(self) -> None:
        """End everything and remove what is on disk."""
        ...


class Pulling:
    """A pull under way."""

    def __init__(self, trip: Trip, open_arenas: OpenArenas, device: str) -> None:
        options, settings = trip.options, trip.settings
        self._trip = trip
        self._device = device
        self.pulling = Pull(
            ControlClient.of(settings),
            options.pipeline,
            open_arenas,
            lanes=options.lanes,
            patience=options.patience,
            listing=options.patience,
            origin=trip.record.born,
        ).start()

    @property
    def pull(self) -> Boot:
        """Implement ``Way``."""
        return self.pulling.boot(self._device, self._trip.record.started)

    def small_files(self) -> Transfer:
        """Wait for the small files of every model, and remember the manifest."""
        transfer = wait_for_small_files(self.pulling)
        if transfer.manifest.source != CACHE:
            self._trip.record.served_by(transfer.manifest.source, transfer.manifest.reason)
        try:
            remember(self._trip.state, transfer.manifest)
        except OSError as error:
            self._trip.record.notes.append(f"the manifest could not be remembered: {error}")
        return transfer
