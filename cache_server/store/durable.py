"""Writes that survive a crash, deletions, and disk errors in this project's words."""

import errno
import json
import mmap
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cache_protocol.errors import CacheError, CapacityError, DiskError


def write_json(path: Path, fields: Mapping[str, Any], *, mode: int = 0o600) -> None:
    """Put ``fields`` at ``path``: after a crash the old content is there or the new, whole."""
    write_bytes(path, json.dumps(fields, separators=(",", ":")).encode(), mode=mode)


def write_bytes(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Put ``data`` at ``path``: temporary file, fsync, rename, fsync of the directory.

    Raises:
        CapacityError: the disk is full.
        DiskError: it refused. What was written is deleted again, as far as the disk lets it.
    """
    temporary = path.with_name(f"{path.name}.new")
    with _deleted_if_it_fails(temporary), disk_errors(path):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, mode)
        try:
            _write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.replace(path)
        sync_directory(path.parent)


def open_to_read(path: Path, flags: int = 0) -> int:
    """Open ``path``, no link, to be read, and leave no time of access behind.

    Writing that time down changes the inode, which may have to wait for a disk that hangs although
    every byte of the file is in memory.
    """
    flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOATIME)
    except PermissionError:  # the file is another user's, as after a copy
        return os.open(path, flags)


def open_direct(path: Path) -> int:
    """Open ``path`` to be read from the disk itself, past the copy in memory, where that works.

    Reads of the descriptor want offsets, lengths and memory in multiples of the block size.
    """
    try:
        return open_to_read(path, os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:  # tmpfs: it is all memory
            raise
        return open_to_read(path)


def read_direct(path: Path, size: int) -> bytes:
    """Return the first ``size`` bytes of ``path``, a multiple of the block size, from the disk."""
    fd = open_direct(path)
    try:
        with mmap.mmap(-1, size) as memory:
            return memory[: os.preadv(fd, [memory], 0)]
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Make the names in ``path`` survive a crash."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an OSError inside into CapacityError (the disk is full) or DiskError (all else)."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            disk = os.statvfs(next(p for p in (path, *path.parents) if p.exists()))
            free = disk.f_bavail * disk.f_frsize
            raise CapacityError(
                f"the file system under {path.name} is full: {free} bytes are left"
            ) from error
        raise DiskError(f"{path.name}: {error.strerror or error}") from error


def delete(path: Path) -> None:
    """Delete a file or a directory with all that is in it; one that is gone is fine.

    Raises:
        DiskError: the disk refused; something of it may be left.
    """
    with disk_errors(path):
        while path.is_dir() and not path.is_symlink():
            # A removal and the emptying of the trash may meet in one directory.
            with suppress(FileNotFoundError):
                shutil.rmtree(path)
        path.unlink(missing_ok=True)


@contextmanager
def _deleted_if_it_fails(temporary: Path) -> Iterator[None]:
    """Leave no ``temporary`` behind on a full disk."""
    try:
        yield
    except CacheError:
        with suppress(OSError):  # a sick disk refuses this too; the first error says more
            temporary.unlink(missing_ok=True)
        raise


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
