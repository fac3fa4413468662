"""The directory that one node owns: its lock, its keys, its slots."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from cache_protocol.errors import BusyError, DiskError, MalformedError
from cache_server.store.durable import delete, disk_errors, read_direct, write_bytes
from cache_server.store.private import check_root, close_to_others

PROBE_SIZE = 4096  # bytes
# What nobody else may read: keys, tokens' hashes, and by their directories all weights.
PRIVATE = ("admin-token", "identity-key", "ticket-keys.json", "catalogue.db*", "slots", "trash")


class Root:
    """ROOT on NVMe; this process alone writes to it."""

    def __init__(self, path: Path) -> None:
        """Take the directory, making it if needed.

        Raises:
            MalformedError: it is no directory.
            BusyError: another node has it.
            DiskError: it cannot be written, it is somebody else's, or everybody can
                write to it.
        """
        self.path = path.absolute()
        if self.path.exists() and not self.path.is_dir():
            raise MalformedError(f"{self.path} is no directory; name one, or where to make one")
        with disk_errors(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_root(self.path)
            # No link: what is written to the lock would replace what the link leads to.
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._lock = os.open(self.path / "lock", flags, 0o600)
            self._take_lock()
            self.slots.mkdir(mode=0o700, exist_ok=True)
            # Now: a full disk may have no room left for it when something has to leave.
            self.trash.mkdir(mode=0o700, exist_ok=True)
            for each in chain.from_iterable(map(self.path.glob, PRIVATE)):
                close_to_others(each)

    @property
    def slots(self) -> Path:
        """The directory of all slots."""
        return self.path / "slots"

    @property
    def trash(self) -> Path:
        """Where generations go before they are deleted."""
        return self.path / "trash"

    @property
    def disk_free(self) -> int:
        """Bytes that the file system has left for this user."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def slot(self, tenant: str, pipeline: str) -> Path:
        """Return the directory of one slot; it may not exist yet."""
        return self.slots / tenant / pipeline

    def slot_names(self) -> Iterator[tuple[str, str]]:
        """Yield ``(tenant, pipeline)`` of every slot directory."""
        for tenant in _directories(self.slots):
            for slot in _directories(tenant):
                yield tenant.name, slot.name

    def generations(self, tenant: str, pipeline: str) -> list[Path]:
        """Return the directories of a slot's generations."""
        return _directories(self.slot(tenant, pipeline))

    def empty_trash(self) -> None:
        """Delete what a crash left on its way out."""
        with disk_errors(self.trash):
            for left in self.trash.iterdir():
                delete(left)

    def discard(self, directory: Path) -> None:
        """Delete a directory below this one that nobody knows."""
        delete(self.put_away(directory))

    def put_away(self, directory: Path) -> Path:
        """Make a directory below this one unknown, by one rename; return where it is now."""
        with disk_errors(directory):
            going = self.trash / f"{directory.name}.{secrets.token_hex(4)}"
            directory.rename(going)
        return going

    def identity_key(self) -> bytes:
        """Return the key that secrets of S3 access keys are derived from."""
        return self._secret("identity-key", secrets.token_bytes(32))

    def admin_token(self) -> str:
        """Return the admin token, generated once."""
        return (
            self._secret("admin-token", f"{secrets.token_urlsafe(32)}\n".encode()).decode().strip()
        )

    def probe(self) -> None:
        """Write a little to the disk and read it back from the disk itself.

        In place, so that nothing but these bytes has to reach the device.

        Raises:
            DiskError: it fails, or gives back something else.
            CapacityError: it is full.
        """
        path, stamp = self.path / "probe", secrets.token_bytes(PROBE_SIZE)
        with disk_errors(path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                os.pwrite(fd, stamp, 0)
                os.fdatasync(fd)
            finally:
                os.close(fd)
            seen = read_direct(path, PROBE_SIZE)
        if seen != stamp:
            raise DiskError("the disk gives back other bytes than were written")

    def close(self) -> None:
        """Give the directory back."""
        os.close(self._lock)

    def _take_lock(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._lock)
            raise BusyError(
                f"{self.path} belongs to another running node (process {holder}); "
                "stop that one, or give this one a directory of its own"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _secret(self, name: str, fresh: bytes) -> bytes:
        path = self.path / name
        if not path.exists():
            write_bytes(path, fresh)
        return path.read_bytes()


def _directories(parent: Path) -> list[Path]:
    """Return the directories in ``parent``; a stray file is none, nor is there one in a file."""
    with disk_errors(parent):
        return sorted(p for p in parent.iterdir() if p.is_dir()) if parent.is_dir() else []
