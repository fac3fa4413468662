"""The private directory of one boot: the same path on every replica, and gone afterwards.

    /tmp/warmline-1000/        0700, ours: anybody may have made it before us, so it is checked
        voice/                 locked by the boot that uses it
            asr/  llm/         one directory per model

Compile caches are keyed by the model's path, so a pipeline has one path. A second boot of the
same pipeline on the host gets ``voice.2``. A directory without a lock was left behind by a boot
that was killed: the next boot removes it.
"""

import fcntl
import os
import shutil
import stat
from contextlib import suppress
from itertools import chain, count
from pathlib import Path

from cache_protocol.errors import CacheError


class Home:
    """A directory that this process alone uses. Close it to have it removed."""

    def __init__(self, base: Path, name: str) -> None:
        """Take ``base/name``, or ``base/name.2`` and so on while others use them; it is empty.

        Raises:
            CacheError: ``base`` is somebody else's, or others can write to it.
            OSError: it cannot be made.
        """
        _sweep(base)
        self._lock, self.path = _take(base, name)
        self.canonical = self.path.name == name  # whether every replica has this path
        _empty(self.path)

    def close(self) -> None:
        """Remove the directory, and the base when no other boot uses it."""
        if self._lock < 0:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = -1
        with suppress(OSError):
            self.path.parent.rmdir()


def _take(base: Path, name: str) -> tuple[int, Path]:
    names = chain([name], (f"{name}.{number}" for number in count(2)))
    for path in (base / each for each in names):
        lock = _lock(base, path)
        if lock is not None:
            return lock, path
    raise AssertionError("counting never ends")


def private(base: Path) -> Path:
    """Make ``base`` for us alone, or check that it is.

    Raises:
        CacheError: it is somebody else's, others can enter it, or it is no directory.
    """
    # Manifests are remembered there, and name where an engine's weights come from.
    base.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        base.mkdir(mode=0o700)
    private_already(base)
    return base


def private_already(base: Path) -> None:
    """Check that ``base`` is ours alone, if it is there at all; raises as ``private``."""
    if not os.path.lexists(base):
        return
    found = base.lstat()
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    if not mine or found.st_mode & 0o077:
        raise CacheError(f"{base} is not a directory that is ours alone (owner, mode 0700)")


def _lock(base: Path, path: Path) -> int | None:
    """Lock ``path``, which is made if need be; None while another process holds it."""
    while True:
        with suppress(FileNotFoundError):  # removed by its last user in this moment
            private(base)
            path.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(lock), path.stat()):
                    return lock
            except BlockingIOError:
                os.close(lock)
                return None
            os.close(lock)


def _sweep(base: Path) -> None:
    """Remove what killed boots left behind."""
    for left in list(private(base).iterdir()):
        with suppress(BlockingIOError, FileNotFoundError, NotADirectoryError):
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _empty(path: Path) -> None:
    for entry in path.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
