"""A model in host memory for engines that read files: a memfd for each file, to be linked to.

    DIR/model.safetensors -> /proc/<our pid>/fd/<n>

A memfd of exactly the file's size opens and maps like the file itself. Once it is confirmed
nobody can write to it any more, not even an engine that would like to.
"""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path

from cache_protocol.errors import CapacityError
from cache_protocol.manifest import Manifest, Model
from cache_protocol.ranges import Span
from replica_agent.arenas.bounce import Bounce, read_at, write_at
from replica_agent.arenas.room import check_room

_CLOSED = -1
_LONGEST = 200  # characters of a memfd's name; the kernel takes 249. Source: memfd_create(2)


class LinkedArena:
    """The files of one model, a memfd each. Safe for threads: each byte has one writer."""

    in_place = True

    def __init__(self, name: str, model: Model) -> None:
        """Make room for ``model``; no page is touched yet."""
        self._bounce = Bounce()
        self._confirmed: set[int] = set()
        self._fds: list[int] = []
        try:
            for file in model.files:
                self._add(f"{name}/{file.path}"[-_LONGEST:], file.size)
        except OSError:
            self.drop_all()
            raise

    def room(self, file: int, span: Span) -> memoryview:  # noqa: ARG002 - every file is alike
        """Return the calling thread's buffer; see ``bounce``."""
        return self._bounce.room(span.size)

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Write ``data`` to its place."""
        try:
            write_at(self._fds[file], data, span.begin)
        except OSError as error:
            raise CapacityError(f"the arena takes no more bytes: {error}") from error

    def accept(self, file: int, span: Span) -> None:
        """Nothing is left to do: the bytes are in place."""

    def read(self, file: int, span: Span) -> memoryview:
        """Return the calling thread's buffer with the bytes of ``span`` in it."""
        room = self._bounce.room(span.size)
        read_at(self._fds[file], room, span.begin)
        return room

    def confirm(self, file: int) -> None:
        """Allow no more change to the file."""
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(self._fds[file], fcntl.F_ADD_SEALS, seals)
        self._confirmed.add(file)

    def path(self, file: int) -> Path:
        """Return a path that opens the file, for processes of our user, while we have it open."""
        return Path(f"/proc/{os.getpid()}/fd/{self._fds[file]}")

    def drop(self, file: int) -> None:
        """Give the memory of one file back as soon as nobody maps it."""
        fd, self._fds[file] = self._fds[file], _CLOSED
        if fd != _CLOSED:
            os.close(fd)

    def drop_all(self) -> None:
        """Drop every file."""
        for file in range(len(self._fds)):
            self.drop(file)

    def close(self) -> None:
        """Give up what was not confirmed; what was stays until it is dropped."""
        for file in range(len(self._fds)):
            if file not in self._confirmed:
                self.drop(file)

    def _add(self, name: str, size: int) -> None:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self._fds.append(fd)
        os.ftruncate(fd, size)


class LinkedMemory:
    """The arenas of one pipeline; those of the last generation that was asked for."""

    def __init__(self, limit: int | None) -> None:
        """Take at most ``limit`` bytes in all; None: what the host allows."""
        self._limit = limit
        self.arenas: Mapping[str, LinkedArena] = {}

    def drop(self) -> None:
        """Give all memory back as soon as nobody maps it."""
        for arena in self.arenas.values():
            arena.drop_all()

    def open_arenas(self, manifest: Manifest) -> Mapping[str, LinkedArena]:
        """Make an arena per model; an ``OpenArenas``.

        Raises:
            CapacityError: with the numbers, before anything is written.
        """
        self.drop()
        check_room(manifest.size, self._limit)
        self.arenas = {name: LinkedArena(name, m) for name, m in manifest.models.items()}
        return self.arenas
