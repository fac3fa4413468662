"""One fill: origin to slot, until the generation can be published.

    pull, 8      claim an extent → pieces from the origin → bytes, digest, map     (fill_order)
    hash, 2      sha256 along the front of a file → confirmed, or pulled once more
    sync, 1      fdatasync of files with new bytes, all the time: the kernel alone would begin to
                 write when gigabytes are dirty, and the end of the fill would wait for them

The threads meet in the chunk maps: a hasher waits for the chunk that it needs next, exactly as a
replica does. The first error stops them all; what was recorded stays for the next fill.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Protocol

from cache_protocol.digests import (
    CHUNK_SIZE,
    ChunkHash,
    chunk_digest,
    chunk_span,
    git_blob_hash,
)
from cache_protocol.errors import BusyError, CacheError, IntegrityError
from cache_protocol.names import shown
from cache_protocol.ranges import Span
from cache_server.core.counted import Liar
from cache_server.core.fill_order import Extent, FillOrder
from cache_server.crash_points import reached
from cache_server.fill.headers import check_header
from cache_server.fill.pieces import RemoteFile, pieces
from cache_server.ports import Origin
from cache_server.store.durable import disk_errors, open_to_read
from cache_server.store.generation import Generation
from cache_server.store.stored_file import StoredFile

CONNECTIONS = 8  # per fill; a CDN gives one connection some 50 to 200 MB/s
HASHERS = 2  # sha256 of one file cannot be parallel; two files at once keep up with 25 GbE
PIECE = 2**20  # bytes per step: large enough to amortise a call, small enough to stay in cache
MAX_ROTTEN = 3  # chunks of one file that the disk may have spoilt during one fill
TICK = 0.5  # seconds within which a stopped fill is noticed by one that waits


def _step_back() -> None:
    """Let the threads that answer requests run first when all processors are busy.

    A thread that wakes to answer waits for a fill's thread to end its turn otherwise. A lower
    priority on top made fills up to a third slower, and answers no faster that could be shown.
    """
    os.sched_setscheduler(threading.get_native_id(), os.SCHED_BATCH, os.sched_param(0))


class FillStoppedError(BusyError):
    """The fill was told to stop: the pipeline is being removed, or the node shuts down."""

    code = "fill-stopped"
    title = "The fill was stopped"


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class Fill:
    """Brings every missing chunk of one generation. ``run`` it once."""

    def __init__(
        self,
        generation: Generation,
        origins: Mapping[str, Origin],
        *,
        connections: int = CONNECTIONS,
        pulled: Callable[[int], None] = lambda _: None,
        wrong: Callable[[Liar], None] = lambda _: None,
    ) -> None:
        """Prepare to fill ``generation``, which is allocated, from ``origins`` by model.

        ``pulled`` is told the bytes that came from an origin, piece by piece; ``wrong`` who gave
        bytes that do not have their digest, each time.
        """
        self._generation = generation
        self._origins = origins
        self._revisions = {m.name: m.revision for m in generation.content.models}
        self._connections = connections
        self._pulled = pulled
        self._wrong = wrong
        self._order = FillOrder([f.map for f in generation.files], connections=connections)
        # Guards the order. Taken inside ``generation.progress.changed``, never around it.
        self._turn = threading.Condition()
        self._stop = threading.Event()
        self._to_hash = [f for f in reversed(generation.files) if f.sha256 is None]
        self._unconfirmed = len(self._to_hash)
        self._to_sync: SimpleQueue[StoredFile | None] = SimpleQueue()

    def run(self) -> None:
        """Pull and check until every file is confirmed and synced.

        Raises:
            OriginError: the origin says no, or went silent.
            IntegrityError: a file is twice not what the origin promised.
            MalformedError: a safetensors header that does not describe its file.
                CapacityError: the disk is full.
            DiskError: the disk failed.
            FillStoppedError: ``stop`` was called.
        """
        self._generation.progress.want = self._want
        workers = self._connections + HASHERS + 1
        with ThreadPoolExecutor(workers, "fill", _step_back) as pool:
            hashing = [pool.submit(self._hash_files) for _ in range(HASHERS)]
            pulling = [pool.submit(self._pull_extents) for _ in range(self._connections)]
            syncing = pool.submit(self._sync_files)
            try:
                done, _ = wait([*hashing, *pulling], return_when=FIRST_EXCEPTION)
                failed = [f for f in done if f.exception()]
                self._tell_readers(failed)
            finally:
                self._generation.progress.want = None
                self._end()
            for future in [*failed, *hashing, *pulling, syncing]:
                future.result()

    def stop(self) -> None:
        """Make ``run`` end soon with FillStoppedError."""
        self._stop.set()
        with self._turn:
            self._turn.notify_all()

    def _tell_readers(self, failed: Sequence[Future[None]]) -> None:
        """Say at once why no more comes: the other connections may take their time to end."""
        for future in failed:
            if isinstance(error := future.exception(), CacheError):
                self._generation.fail(error)

    def _end(self) -> None:
        self.stop()
        self._to_sync.put(None)

    def _want(self, file: int, chunk: int) -> None:
        with self._turn:
            self._order.want(file, chunk)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise FillStoppedError("the fill was stopped")

    # Pulling.

    def _pull_extents(self) -> None:
        buffer = memoryview(bytearray(PIECE))
        while (extent := self._next_extent()) is not None:
            self._pull(extent, buffer)

    def _next_extent(self) -> Extent | None:
        with self._turn:
            while self._unconfirmed:
                self._pause(0)
                extent = self._order.next()
                if extent is not None:
                    return extent
                # A file that is not what was promised comes back into the order.
                self._turn.wait(TICK)
            return None

    def _pull(self, extent: Extent, buffer: memoryview) -> None:
        file = self._generation.files[extent.file]
        span = Span(extent.begin * CHUNK_SIZE, min(extent.end * CHUNK_SIZE, file.size))
        with disk_errors(file.path):
            fd = os.open(file.path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            digest = ChunkHash()
            for at, piece in pieces(self._remote(file), span, buffer=buffer, pause=self._pause):
                digest.update(piece)
                file.write(at, piece, fd)
                self._pulled(len(piece))
                chunk = at // CHUNK_SIZE
                if at + len(piece) == chunk_span(chunk, file.size).end:
                    file.record(chunk, digest.digest())
                    digest = ChunkHash()
                self._pause(0)
        finally:
            os.close(fd)
        self._to_sync.put(file)

    def _remote(self, file: StoredFile) -> RemoteFile:
        return RemoteFile(self._origins[file.model], self._revisions[file.model], file.origin)

    # Checking.

    def _hash_files(self) -> None:
        while True:
            with self._turn:
                if not self._to_hash:
                    return
                file = self._to_hash.pop()
            self._confirm(file)
            self._to_sync.put(file)
            with self._turn:
                self._unconfirmed -= 1
                self._turn.notify_all()

    def _confirm(self, file: StoredFile) -> None:
        """Check ``file`` against its origin's digest; pull it once more if it does not match."""
        wrong = self._mismatch(file)
        if wrong is not None:
            self._pull_again(file, range(file.map.count))
            wrong = self._mismatch(file)
        if wrong is not None:
            file.drop(range(file.map.count))
            raise IntegrityError(wrong)
        reached("fill.file-confirmed")

    def _mismatch(self, file: StoredFile) -> str | None:
        """Hash ``file`` as it arrives; confirm it, or return what is wrong with it."""
        sha256, promised, ours = self._hash(file)
        reached("fill.file-whole")
        if promised not in (None, ours):
            self._wrong(Liar.ORIGIN)
            return (
                f"{shown(file.origin.path)}: the origin promised {promised}, "
                f"its {file.size} bytes have {ours}"
            )
        check_header(file)
        file.confirm(sha256)
        return None

    def _hash(self, file: StoredFile) -> tuple[bytes, str | None, str]:
        """Return sha256, what the origin promised, and what the promise is to be held against."""
        sha256 = hashlib.sha256()
        git = git_blob_hash(file.size) if file.origin.git_sha1 else None
        hashes: list[_Hash] = [sha256] if git is None else [sha256, git]
        if file.size:
            self._hash_along_the_front(file, hashes)
        if file.origin.sha256 is None and git is not None:
            return sha256.digest(), file.origin.git_sha1, git.hexdigest()
        return sha256.digest(), file.origin.sha256, sha256.hexdigest()

    def _hash_along_the_front(self, file: StoredFile, hashes: list[_Hash]) -> None:
        room, rotten = memoryview(bytearray(min(CHUNK_SIZE, file.size))), 0
        with disk_errors(file.path):
            fd = open_to_read(file.path)
        try:
            chunk = 0
            while chunk < file.map.count:
                self._wait_for(file, chunk)
                data = _read(fd, file, chunk, room)
                # What the disk gives back is held against what came, or rot in between would
                # be confirmed where the origin promises no digest.
                if chunk_digest(data) == file.map.digest(chunk):
                    for each in hashes:
                        each.update(data)
                    chunk += 1
                    continue
                self._wrong(Liar.DISK)
                if (rotten := rotten + 1) <= MAX_ROTTEN:
                    self._pull_again(file, range(chunk, chunk + 1))
                else:
                    raise IntegrityError(
                        f"{shown(file.origin.path)}: the disk does not keep what is written to it"
                    )
        finally:
            os.close(fd)

    def _wait_for(self, file: StoredFile, chunk: int) -> None:
        while True:
            self._pause(0)
            try:
                file.wait_past(chunk, TICK)
            except TimeoutError:
                continue
            return

    def _pull_again(self, file: StoredFile, chunks: range) -> None:
        file.drop(chunks)
        with self._turn:
            self._order.give_back(file.index, chunks)
            self._turn.notify_all()

    def _sync_files(self) -> None:
        while (files := self._next_to_sync()) is not None:
            for file in files:
                file.sync()

    def _next_to_sync(self) -> set[StoredFile] | None:
        """Wait for files with new bytes; return all that wait, None after the last."""
        files: set[StoredFile] = set()
        while not files or not self._to_sync.empty():
            file = self._to_sync.get()
            if file is None:
                self._to_sync.put(None)  # found again when these are done
                return files or None
            files.add(file)
        return files


def _read(fd: int, file: StoredFile, chunk: int, into: memoryview) -> memoryview:
    """Return the bytes of ``chunk`` on disk; fewer if the file was cut short."""
    span, got = chunk_span(chunk, file.size), 0
    with disk_errors(file.path):
        while got < span.size and (n := os.preadv(fd, [into[got : span.size]], span.begin + got)):
            got += n
    return into[:got]
