"""Whole, verified files under their real names, for any engine that reads files.

    1. on a tmpfs where one is large enough     real files in memory
    2. links to memfds                          /proc/<our pid>/fd/<n>, files of exact size
    3. on a local disk                          where memory does not suffice

The size is known only with the manifest, so the place is chosen when arenas are asked for. A
model's directory is ``HOME/<model>`` in every case; in 1 and 3 it is a link to the real one.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from cache_protocol.errors import CacheError, CapacityError
from cache_protocol.manifest import Manifest
from replica_agent.arenas.directory import Destination
from replica_agent.arenas.links import LinkedMemory
from replica_agent.arenas.room import check_room
from replica_agent.boot import places
from replica_agent.boot.home import Home
from replica_agent.ports import Arena


class FilesPlace:
    """The weight files of one pipeline, wherever there is room. Close it to remove them."""

    def __init__(
        self, home: Path, pipeline: str, *, limit: int | None, state: Path | None, tmpfs: bool
    ) -> None:
        """Link models from ``home``, a directory that is ours.

        Args:
            home: where ``<model>`` directories appear.
            pipeline: id.
            limit: most bytes of memory; None: what the host allows.
            state: the operator's state directory, if there is one.
            tmpfs: whether a tmpfs may be used at all.
        """
        self.kind = ""  # tmpfs, memfd, disk
        self._manifest: Manifest | None = None
        self._home = home
        self._pipeline = pipeline
        self._limit = limit
        self._state = state
        self._tmpfs = tmpfs
        self._links: LinkedMemory | None = None
        self._real: Home | None = None
        self._destination: Destination | None = None

    def open_arenas(self, manifest: Manifest) -> Mapping[str, Arena]:
        """Make an arena per model; an ``OpenArenas``.

        Raises:
            CapacityError: neither memory nor disk has room.
        """
        self.close()
        self._manifest = manifest
        try:
            check_room(manifest.size, self._limit)
        except CapacityError as error:
            return self._on_disk(manifest, error)
        tmpfs = places.tmpfs_for(manifest.size) if self._tmpfs else None
        if tmpfs is not None:
            with suppress(CacheError, OSError):  # not ours, or filled up: links do as well
                return self._below(tmpfs, "tmpfs", manifest)
        self.kind = "memfd"
        self._links = LinkedMemory(self._limit)
        return self._links.open_arenas(manifest)

    def publish(self, manifest: Manifest) -> dict[str, Path]:
        """Return the directory of every model, with all its files, once they are confirmed."""
        return {name: self._publish(name, manifest) for name in manifest.models}

    def drop(self, unneeded: Callable[[str, int], bool]) -> None:
        """Give up the files whose path and size are ``unneeded``; the others stay."""
        manifest = self._manifest
        for name, model in manifest.models.items() if manifest else ():
            for number, file in enumerate(model.files):
                if unneeded(file.path, file.size):
                    self._drop(name, number, file.path)

    def close(self) -> None:
        """Remove the files; what an engine has open or mapped stays valid for it."""
        for model in list(self._home.iterdir()) if self._home.is_dir() else []:
            if model.is_symlink():
                model.unlink()
        if self._links is not None:
            self._links.drop()
            self._links = None
        if self._destination is not None:
            self._destination.close()
            self._destination = None
        if self._real is not None:
            self._real.close()
            self._real = None

    def _on_disk(self, manifest: Manifest, error: CapacityError) -> Mapping[str, Arena]:
        disk = places.disk_for(manifest.size, self._state)
        if disk is None:
            raise CapacityError(f"{error}, and no local disk has room for them") from error
        return self._below(disk / places.own_name(), "disk", manifest)

    def _below(self, base: Path, kind: str, manifest: Manifest) -> Mapping[str, Arena]:
        self._real = Home(base, self._pipeline)
        self._destination = Destination(self._real.path)
        try:
            arenas = self._destination.open_arenas(manifest)
        except (CacheError, OSError):
            self.close()
            raise
        self.kind = kind
        return arenas

    def _drop(self, model: str, number: int, path: str) -> None:
        if self._real is not None:
            (self._real.path / model / path).unlink(missing_ok=True)
        elif self._links is not None:
            (self._home / model / path).unlink(missing_ok=True)
            self._links.arenas[model].drop(number)

    def _publish(self, name: str, manifest: Manifest) -> Path:
        directory = self._home / name
        if self._real is not None:
            (self._real.path / name).mkdir(exist_ok=True)  # a model without files
            directory.symlink_to(self._real.path / name, target_is_directory=True)
            return directory
        assert self._links is not None, "arenas were opened"  # noqa: S101 - a bug of ours
        for number, file in enumerate(manifest.models[name].files):
            link = directory / file.path
            link.parent.mkdir(parents=True, exist_ok=True)
            # Replaced in one step, also where a small file was written before.
            fresh = link.with_name(f".{link.name[:200]}.link")
            fresh.symlink_to(self._links.arenas[name].path(number))
            fresh.replace(link)
        return directory
