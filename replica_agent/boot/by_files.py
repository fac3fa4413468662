"""Whole, verified files for an engine that only reads files."""

import time
from collections.abc import Iterable
from pathlib import Path

from replica_agent.boot.small import is_small
from replica_agent.boot.ways import Pulling, Trip
from replica_agent.engines.files import FilesPlace


class FilesWay(Pulling):
    """Whole, verified files; COMMAND starts when all are there."""

    in_place = True
    on_device = False

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

    def leave(self) -> Iterable[str]:
        """Implement ``Way``: nothing was learned."""
        return ()

    def hasten(self) -> None:
        """Implement ``Way``: nothing takes long."""

    def release(self) -> None:
        """Implement ``Way``: small files stay, an engine may read them at any time."""
        self._files.drop(lambda path, size: not is_small(path, size))

    def settle(self) -> None:
        """Implement ``Way``: nothing of ours is on a device."""

    def close(self) -> None:
        """Implement ``Way``."""
        self.pulling.close()
        self._files.close()
