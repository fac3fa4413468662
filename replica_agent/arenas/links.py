"""A model in host memory for engines that read files: a memfd for each file, to be linked to.

    DIR/model.safetensors -> /proc/<our pid>/fd/<n>

A memfd of exactly the file's size opens and maps like the file itself. Once it is confirmed
nobody can write to it any more, not even an engine that would like to.
"""

import fcntl
import mmap
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cache_protocol.manifest import Manifest, Model
from cache_protocol.ranges import Span
from replica_agent.arenas.room import check_room

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_SEAL_FUTURE_WRITE = 0x10  # source: linux/fcntl.h, Linux 5.1; the fcntl module lacks it


class LinkedArena:
    """The files of one model, a memfd each. Safe for threads: each byte has one writer."""

    def __init__(self, name: str, model: Model) -> None:
        """Make room for ``model``; no page is touched yet."""
        self._fds: list[int] = []
        self._confirmed: set[int] = set()
        self._maps: list[memoryview] = []
        try:
            for file in model.files:
                self._add(f"{name}/{file.path}"[-200:], file.size)  # a memfd's name is short
        except OSError:
            self.close()
            raise

    def room(self, file: int, span: Span) -> memoryview:
        """Return the final place of ``span``."""
        return self._maps[file][span.begin : span.end]

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Nothing is left to do: ``data`` is the final place."""

    def read(self, file: int, span: Span) -> memoryview:
        """Return the place of ``span``."""
        return self._maps[file][span.begin : span.end]

    def confirm(self, file: int) -> None:
        """Allow no more writes but those that a repair of ours may still need."""
        with suppress(OSError):  # a kernel before 5.1
            fcntl.fcntl(self._fds[file], fcntl.F_ADD_SEALS, _SEAL_FUTURE_WRITE)
        self._confirmed.add(file)

    def path(self, file: int) -> Path:
        """Return a path that opens the file, for processes of our user, while we have it open."""
        return Path(f"/proc/{os.getpid()}/fd/{self._fds[file]}")

    def drop(self, file: int) -> None:
        """Give the memory of one file back as soon as nobody maps it."""
        self._maps[file] = memoryview(b"")
        fd, self._fds[file] = self._fds[file], -1
        if fd >= 0:
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
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        self._maps.append(memoryview(mmap.mmap(fd, size)) if size else memoryview(b""))


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
            CapacityError: with the numbers, before anything is mapped.
        """
        self.arenas = {}
        check_room(manifest.size, self._limit)
        self.arenas = {name: LinkedArena(name, m) for name, m in manifest.models.items()}
        return self.arenas
