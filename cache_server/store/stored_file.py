"""One file of a generation: its place on disk, its chunk map, and the readers that wait for it.

A reader never sees a byte whose chunk is not in the map. A chunk enters the map in this order,
so that a crash between two steps costs at most the chunk:

    1. its bytes are written at their place in the file
    2. its digest is written to the table on disk
    3. it is recorded in memory and waiting readers wake up
"""

import errno
import mmap
import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cache_protocol.digests import (
    CHUNK_SIZE,
    DIGEST_SIZE,
    ChunkHash,
    chunk_span,
    chunks_of,
    verdict,
)
from cache_protocol.errors import CacheError, DiskError, GenerationGoneError
from cache_protocol.ranges import Span
from cache_server.core.chunk_map import ChunkMap
from cache_server.core.content import OriginFile
from cache_server.crash_points import reached
from cache_server.store.durable import delete, disk_errors, open_direct, open_to_read

PIECE = 2**20  # bytes read at once when a chunk is checked; stays in the second-level cache
_CHECKS = threading.BoundedSemaphore(4)  # readers may ask for checks; disks have other work
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}  # ELOOP: a link in its place


@dataclass(slots=True)
class Progress:
    """What all files of one generation share, guarded by ``changed``."""

    changed: threading.Condition
    failure: CacheError | None = None  # why the last fill stopped; None while one may run
    gone: bool = False
    want: Callable[[int, int], None] | None = None  # (file, chunk), while a fill runs
    repair: Callable[["StoredFile", int], None] | None = None  # brings one chunk anew
    lost: Callable[["StoredFile", int], None] | None = None  # told what is left, in bytes
    failed: Callable[["StoredFile", int, Exception], None] | None = None  # a chunk, and how


class StoredFile:
    """See ``ports.ReadableFile`` for what readers are promised."""

    def __init__(
        self,
        index: int,
        model: str,
        origin: OriginFile,
        directory: Path,
        progress: Progress,
    ) -> None:
        """Describe file number ``index`` of the generation in ``directory``; no I/O."""
        self.index = index
        self.model = model
        self.origin = origin
        self.path = directory / "files" / model / origin.path
        self.table_path = directory / "digests" / str(index)
        self.etag = f'"{directory.name}-{index}"'
        self.map = ChunkMap(origin.size)
        self.sha256: bytes | None = None  # set once the whole file is confirmed
        self.lent = False  # another process may have it open
        self.ended = False  # and was cut off, with the generation
        self._progress = progress

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.origin.size

    # What readers use.

    def open(self) -> int:
        """Return a new read-only descriptor; see the port.

        Raises:
            DiskError: the disk failed, or the file is missing or too short: then it is brought
                anew from its origin, and a moment later can be opened.
        """
        if self._progress.gone:
            raise GenerationGoneError("the generation has been given up")
        fd, on_disk = self._open()
        if on_disk < self.size:
            if fd is not None:
                os.close(fd)
            if self._progress.lost is not None:
                self._progress.lost(self, on_disk)
        if fd is None or on_disk < self.size:
            raise DiskError(
                f"{self.origin.path} has {on_disk} of {self.size} bytes on disk; it is brought anew"
            )
        return fd

    def lend(self) -> int | None:
        """Return a descriptor for another process; see the port."""
        if self.sha256 is None:
            return None
        self.lent = True  # before it is opened: from then on ``Generation.end_loans`` ends it
        return self.open()

    def stream(self, span: Span, pause: Callable[[float], None]) -> None:
        """Say that the bytes are on this node; see the port."""

    def present_until(self, offset: int, timeout: float) -> int:
        """Wait for the byte at ``offset``; see the port."""
        if self.sha256 is not None:
            return self.size
        chunk = offset // CHUNK_SIZE
        if not self.map.has(chunk):
            self._wait(chunk, timeout)
        return min(self.map.run_end(chunk) * CHUNK_SIZE, self.size)

    def digests(self, chunks: range, timeout: float) -> bytes:
        """Wait for ``chunks`` and return their digests; see the port."""
        deadline = time.monotonic() + timeout
        for chunk in chunks:
            if not self.map.has(chunk):
                self._wait(chunk, deadline - time.monotonic())
        with self._progress.changed:
            return bytes(self.map.table[chunks.start * DIGEST_SIZE : chunks.stop * DIGEST_SIZE])

    def verdict(self, timeout: float) -> bytes:
        """Wait until the file is confirmed; see the port."""
        with self._progress.changed:
            self._wait_until(lambda: self.sha256 is not None, timeout)
            if self.sha256 is None:
                raise AssertionError("waited for")
            return verdict(self.sha256, self.map.table)

    def revalidate(self, chunk: int, timeout: float) -> None:
        """Check ``chunk`` on disk and repair it when it is wrong; see the port."""
        if not self.map.has(chunk):
            self._wait(chunk, timeout)
        with _CHECKS:
            try:
                right = self.matches(chunk)
            except DiskError:
                right = False  # what cannot be read may still be written
            if not right and self._progress.repair is not None:
                self._progress.repair(self, chunk)

    def failed(self, offset: int, error: Exception) -> None:
        """Take note that the byte at ``offset`` could not be read; see the port."""
        if self._progress.failed is not None:
            self._progress.failed(self, offset // CHUNK_SIZE, error)

    # What the fill uses.

    def allocate(self) -> None:
        """Take the full size on disk, for bytes and table; forget chunks that are not there.

        The table comes first: once a file that somebody cut short has its size again, zeros
        stand where a stale table would still promise bytes.

        Raises:
            CapacityError: the file system has no room.
        """
        with disk_errors(self.path):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.forget_beyond(_make_way(self.path))
            _make_way(self.table_path)
        _allocate(self.table_path, len(self.map.table))
        self._write_table(0, bytes(self.map.table))
        _allocate(self.path, self.size)

    def write(self, at: int, data: memoryview, fd: int) -> None:
        """Write ``data`` at byte ``at`` of the file open as ``fd``."""
        with disk_errors(self.path):
            while data:
                written = os.pwrite(fd, data, at)
                at, data = at + written, data[written:]

    def record(self, chunk: int, digest: bytes) -> None:
        """Make a chunk whose bytes are written count, on disk and for readers."""
        reached("fill.chunk-written")
        self._write_table(chunk, digest)
        reached("fill.chunk-recorded")
        with self._progress.changed:
            self.map.record(chunk, digest)
            self._progress.changed.notify_all()

    def drop(self, chunks: range) -> None:
        """Forget ``chunks``, because their bytes are wrong."""
        self.forget(chunks)
        self._write_table(chunks.start, bytes(len(chunks) * DIGEST_SIZE))

    def forget(self, chunks: range) -> None:
        """Forget ``chunks`` in memory; ``allocate`` writes it down."""
        with self._progress.changed:
            self.map.drop(chunks)
            self.sha256 = None

    def forget_beyond(self, on_disk: int) -> None:
        """Forget in memory the chunks that a file of ``on_disk`` bytes does not hold."""
        if on_disk < self.size:
            self.forget(chunks_of(Span(on_disk, self.size)))

    def confirm(self, sha256: bytes) -> None:
        """Say that the whole file is what was promised; waiting readers wake up."""
        with self._progress.changed:
            self.sha256 = sha256
            self._progress.changed.notify_all()

    def wait_past(self, chunk: int, timeout: float) -> int:
        """Return the end of the run of chunks from ``chunk`` on; TimeoutError if there is none.

        Unlike a reader, the one who asks (sha256 along the front) makes nothing urgent.
        """
        with self._progress.changed:
            self._wait_until(lambda: self.map.has(chunk), timeout)
            return self.map.run_end(chunk)

    def sync(self) -> None:
        """Make bytes and table survive a crash of the machine."""
        for path in (self.path, self.table_path):
            with disk_errors(path):
                fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    os.fdatasync(fd)
                finally:
                    os.close(fd)

    def matches(self, chunk: int, *, direct: bool = False) -> bool:
        """Whether the bytes of ``chunk`` have the digest that the table says.

        Args:
            chunk: which.
            direct: read from the disk itself, past the copy that may be in memory and without
                leaving one there; where the file system cannot do that, as readers do.
        """
        span, seen = chunk_span(chunk, self.size), ChunkHash()
        with disk_errors(self.path):
            fd = (open_direct if direct else open_to_read)(self.path)
            try:
                at = span.begin
                # Whole pieces even at the end: direct reads want multiples of the block size.
                with mmap.mmap(-1, PIECE) as memory, memoryview(memory) as piece:
                    while at < span.end:
                        wanted = min(PIECE, span.end - at)
                        got = min(os.preadv(fd, [piece], at), wanted)
                        if got == 0 or (direct and got < wanted):
                            return False  # the file has been cut short
                        seen.update(piece[:got])
                        at += got
            finally:
                os.close(fd)
        return seen.digest() == self.map.digest(chunk)

    def load(self) -> None:
        """Take the map from the table on disk; chunks beyond the end of the file do not count."""
        try:
            table = self.table_path.read_bytes()
            on_disk = self.path.stat().st_size
        except FileNotFoundError:
            return
        self.map = ChunkMap(self.size, table)
        self.forget_beyond(on_disk)

    def _open(self) -> tuple[int | None, int]:
        """Return a descriptor and how many bytes there are; ``(None, 0)`` for no file at all."""
        with disk_errors(self.path):
            try:
                fd = open_to_read(self.path)
            except OSError as error:
                if error.errno in _NO_FILE:
                    return None, 0
                raise
            found = os.fstat(fd)
        return fd, found.st_size if stat.S_ISREG(found.st_mode) else 0

    def _write_table(self, chunk: int, entries: bytes) -> None:
        with disk_errors(self.table_path):
            fd = os.open(self.table_path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.pwrite(fd, entries, chunk * DIGEST_SIZE)
            finally:
                os.close(fd)

    def _wait(self, chunk: int, timeout: float) -> None:
        with self._progress.changed:
            if self._progress.want is not None:
                self._progress.want(self.index, chunk)
            self._wait_until(lambda: self.map.has(chunk), timeout)

    def _wait_until(self, true: Callable[[], bool], timeout: float) -> None:
        """Wait with ``changed`` held; see the port for what is raised."""
        deadline = time.monotonic() + timeout
        while not true():
            if self._progress.gone:
                raise GenerationGoneError("the generation has been given up")
            if self._progress.failure is not None:
                raise _fresh(self._progress.failure)
            left = deadline - time.monotonic()
            if left <= 0 or not self._progress.changed.wait(left):
                raise TimeoutError(f"{self.origin.path}: nothing came within {timeout:.0f} s")


def _make_way(path: Path) -> int:
    """Return the bytes of the file at ``path``; put away what stands there and is no file."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return 0
    if stat.S_ISREG(found.st_mode):
        return found.st_size
    delete(path)
    return 0


def _allocate(path: Path, size: int) -> None:
    with disk_errors(path):
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(path, flags, 0o600)
        try:
            if os.fstat(fd).st_size > size:
                os.ftruncate(fd, size)
            if size:
                os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)


def _fresh(error: CacheError) -> CacheError:
    # One exception object raised in many threads would collect all their tracebacks.
    copy = type(error)(str(error))
    copy.__cause__ = error
    return copy
