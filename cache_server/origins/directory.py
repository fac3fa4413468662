"""A directory on this machine as an origin: ``file:///models/voice``.

Only regular files that really lie below the directory are ever read. A symlink is followed when
its target stays inside; one that leads out, a FIFO, a socket or a device is refused by name when
the directory is listed. The check is made again on the opened descriptor, because a name can be
exchanged between the look and the open. Where the directory itself may lie is the caller's to
judge, each time that it is looked for.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache_protocol.errors import (
    ForbiddenError,
    MalformedError,
    OriginChangedError,
    OriginDeniedError,
    OriginError,
    OriginNotFoundError,
    OriginUnavailableError,
)
from cache_protocol.names import MAX_PATH, check_path, shown
from cache_protocol.ranges import Span
from cache_server.core.content import Listing, OriginFile
from cache_server.origins.question import bounded
from cache_server.origins.spans import SpanStream


class DirectoryOrigin:
    """The files below one directory; a file's tag is ``size:mtime_ns:inode``."""

    def __init__(self, root: str, check: Callable[[str], None]) -> None:
        """Args: check: is given the real path of ``root``; ForbiddenError or MalformedError."""
        self._root = root
        self._check = check

    def resolve(self) -> Listing:
        """Implement ``ports.Origin``; the revision is a digest of names and tags."""
        try:
            real = self._real()
            files = tuple(sorted(_walk(real), key=lambda f: f.path))
        except OSError as error:
            raise _translated(error, f"directory {shown(self._root)}") from error
        return Listing(listing_digest(files), files)

    def check_access(self) -> None:
        """Implement ``ports.Origin``: nobody is asked."""

    @contextmanager
    def open(
        self,
        listing_revision: str,  # noqa: ARG002 - the file's tag pins it
        file: OriginFile,
        span: Span,
    ) -> Iterator[SpanStream]:
        """Implement ``ports.Origin``."""
        what = f"file {shown(check_path(file.path))}"
        try:
            fd = _open_inside(self._real(), file.path)
        except OSError as error:
            raise _translated(error, what) from error
        try:
            if _tag(os.fstat(fd)) != file.tag:
                raise OriginChangedError(f"{what} is no longer the one that was listed")
            yield SpanStream(_Reader(fd, span.begin, file.tag, what).read, span.size, what=what)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Implement ``ports.Origin``; nothing is held."""

    def _real(self) -> str:
        real = os.path.realpath(self._root, strict=True)
        try:
            self._check(real)
        except ForbiddenError as error:
            raise OriginDeniedError(str(error)) from error
        return real


class _Reader:
    """Positioned reads of a file that must not change meanwhile."""

    def __init__(self, fd: int, at: int, tag: str, what: str) -> None:
        self._fd, self._at, self._tag, self._what = fd, at, tag, what

    def read(self, into: memoryview) -> int:
        try:
            count = os.preadv(self._fd, [into], self._at)
            now = _tag(os.fstat(self._fd))
        except OSError as error:
            raise OriginUnavailableError(f"{self._what}: {error.strerror}") from error
        # A directory promises no sha256, so a file written in place would mix two contents.
        # What this read brought is not handed out; the next open says OriginChangedError.
        if now != self._tag:
            raise OriginUnavailableError(f"{self._what} was changed while it was read")
        self._at += count
        return count


def listing_digest(files: tuple[OriginFile, ...]) -> str:
    """Return a revision for an origin that has none: equal listings, and only they, are equal."""
    rows = [[f.path, f.size, f.tag] for f in files]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def _walk(root: str) -> Iterator[OriginFile]:
    """Yield the files under ``root``, a real path."""
    # Every entry counts: links can make few directories into endlessly many names.
    for path, info in bounded(_entries(root)):
        if stat.S_ISREG(info.st_mode):
            yield OriginFile(path, info.st_size, _tag(info))
        elif not stat.S_ISDIR(info.st_mode):
            raise MalformedError(f"{shown(path)} is neither a file nor a directory")


def _entries(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield everything under ``root``, each by its name below it, with what it really is."""
    waiting = [(root, "")]  # real paths, and what names below them begin with
    while waiting:
        directory, below = waiting.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                path = f"{below}{entry.name}"
                real = _inside(root, entry, path) if entry.is_symlink() else entry.path
                info = os.stat(real, follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    _check_directory(directory, real, path)
                    waiting.append((real, f"{path}/"))
                yield path, info


def _check_directory(parent: str, real: str, path: str) -> None:
    """Refuse a directory ``path`` of ``parent`` that holds it, or is too far down for any file."""
    if f"{parent}/".startswith(f"{real}/"):
        raise MalformedError(f"link {shown(path)} leads to a directory that holds it")
    if len(path) > MAX_PATH:
        raise MalformedError(
            f"directory {shown(path)} is too deep: the name of a file has at most {MAX_PATH} bytes"
        )


def _inside(root: str, entry: os.DirEntry[str], path: str) -> str:
    try:
        real = os.path.realpath(entry.path, strict=True)
    except OSError as error:
        raise MalformedError(f"link {shown(path)}: {error.strerror}") from error
    if not _lies_below(root, real):
        raise MalformedError(f"link {shown(path)} leads out of its directory; it is not followed")
    return real


def _lies_below(root: str, real: str) -> bool:
    return real.startswith(root if root.endswith("/") else f"{root}/")


def _open_inside(root: str, path: str) -> int:
    """Open a regular file and prove, on the descriptor, that it lies below ``root``."""
    # O_NONBLOCK: a FIFO that took the name meanwhile must not hold this thread.
    fd = os.open(f"{root}/{path}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    is_file = stat.S_ISREG(os.fstat(fd).st_mode)
    if is_file and _lies_below(root, os.readlink(f"/proc/self/fd/{fd}")):
        return fd
    os.close(fd)
    raise MalformedError(f"{shown(path)} is not a file inside its directory; it is not followed")


def _tag(info: os.stat_result) -> str:
    return f"{info.st_size}:{info.st_mtime_ns}:{info.st_ino}"


def _translated(error: OSError, what: str) -> OriginError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return OriginNotFoundError(f"{what} does not exist")
    if isinstance(error, PermissionError):
        return OriginDeniedError(f"{what} may not be read by this process")
    return OriginUnavailableError(f"{what}: {error.strerror}")
