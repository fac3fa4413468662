"""Models as files in a directory; a file has its real name only once it is confirmed.

    DIR/.replica-agent-x7k2/asr/model.safetensors     while it is being pulled
    DIR/asr/model.safetensors                         after its verdict: synced, then renamed

The hidden directory is locked by the process that fills it. One without a lock was left behind
by a process that was killed; the next run removes it. Bytes go from the socket through a small
buffer that stays in the processor's cache, then to the file: no model is held in memory.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from cache_protocol.errors import CapacityError
from cache_protocol.manifest import Manifest, Model
from cache_protocol.ranges import Span
from cache_protocol.units import show_size
from replica_agent.arenas.bounce import Bounce, read_at, write_at

_PREFIX = ".replica-agent-"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DirectoryArena:
    """The files of one model under one directory. Safe for threads."""

    in_place = True

    def __init__(self, hidden: Path, to: Path, model: Model) -> None:
        """Write below ``hidden``, move to ``to``; both are on one file system.

        Raises:
            CapacityError: the file system has no room for the model.
        """
        self._hidden = hidden
        self._to = to
        self._paths = [f.path for f in model.files]
        self._bounce = Bounce()
        self._fds: dict[int, int] = {}
        try:
            for number, file in enumerate(model.files):
                self._reserve(number, file.size)
        except OSError as error:
            self.close()
            raise _no_room(error, hidden, model.size) from error

    def room(self, file: int, span: Span) -> memoryview:  # noqa: ARG002 - every file is alike
        """Return the calling thread's buffer."""
        return self._bounce.room(span.size)

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Write ``data`` to its place in the file."""
        try:
            write_at(self._fds[file], data, span.begin)
        except OSError as error:
            raise _no_room(error, self._hidden, len(data)) from error

    def accept(self, file: int, span: Span) -> None:
        """Nothing is left to do: the bytes are in place."""

    def read(self, file: int, span: Span) -> memoryview:
        """Return the calling thread's buffer with the bytes of ``span`` in it."""
        room = self._bounce.room(span.size)
        read_at(self._fds[file], room, span.begin)
        return room

    def confirm(self, file: int) -> None:
        """Put the file on disk, then under its real name, in place of one that was there."""
        fd = self._fds.pop(file)
        try:
            os.fsync(fd)  # or a crash of the machine could leave a name without its bytes
        finally:
            os.close(fd)
        name = self._to / self._paths[file]
        name.parent.mkdir(parents=True, exist_ok=True)
        (self._hidden / self._paths[file]).replace(name)

    def close(self) -> None:
        """Close what is open; the hidden directory is removed by its owner."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    def _reserve(self, number: int, size: int) -> None:
        path = self._hidden / self._paths[number]
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fds[number] = fd = os.open(path, flags, 0o644)
        if size:
            os.posix_fallocate(fd, 0, size)


class Destination:
    """The directory that a pull writes to. Close it when the pull is over."""

    def __init__(self, to: Path) -> None:
        """Make ``to`` if need be, and remove what killed runs left in it."""
        to.mkdir(parents=True, exist_ok=True)
        self._to = to
        self._locks: list[int] = []
        self._hidden: list[Path] = []
        for left in to.glob(f"{_PREFIX}*"):
            _remove_unless_locked(left)

    def open_arenas(self, manifest: Manifest) -> Mapping[str, DirectoryArena]:
        """Make an arena per model; an ``OpenArenas``."""
        self.close()  # of a generation before
        _check_room(self._to, manifest.size)
        hidden = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._to))
        self._hidden.append(hidden)
        self._locks.append(_lock(hidden))
        arenas: dict[str, DirectoryArena] = {}
        try:
            for name, model in manifest.models.items():
                arenas[name] = DirectoryArena(hidden / name, self._to / name, model)
        except CapacityError:
            for arena in arenas.values():
                arena.close()
            raise
        return arenas

    def close(self) -> None:
        """Remove what was not confirmed."""
        while self._hidden:
            shutil.rmtree(self._hidden.pop())
        while self._locks:
            os.close(self._locks.pop())


def _lock(directory: Path) -> int:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _remove_unless_locked(directory: Path) -> None:
    with suppress(BlockingIOError, FileNotFoundError):  # its owner lives, or removed it just now
        fd = _lock(directory)
        try:
            shutil.rmtree(directory)
        finally:
            os.close(fd)


def _check_room(where: Path, need: int) -> None:
    """Refuse what cannot fit before any of it is taken; CapacityError.

    A file system gives what it has before it says no: all others on it would be out of room
    because a manifest lied.
    """
    if need > _free(where):
        raise _too_large(where, need)


def _no_room(error: OSError, where: Path, need: int) -> OSError | CapacityError:
    return _too_large(where.parent.parent, need) if error.errno in _FULL else error


def _too_large(where: Path, need: int) -> CapacityError:
    return CapacityError(
        f"{need} bytes ({show_size(need)}) do not fit into {where}: {_free(where)} bytes are free"
    )


def _free(path: Path) -> int:
    room = os.statvfs(path)
    return room.f_bavail * room.f_frsize
