"""Chunks that a lane can have without the network, read from files that the node has lent.

    lane ──part──> read ──> part with the digests of what is in place ──> the rest over the wire

The promised digests come over the data plane for these as for all other chunks. A chunk that was
wrong before is left to the network, where the node is told to look at its disk; so is everything
after the first thing here that does not go as it should. Files are read, never mapped: a disk that
fails is an error of a read, and a file that the node cuts short ends early.
"""

import os
from contextlib import suppress
from pathlib import Path

from cache_protocol.digests import ChunkHash, chunk_span
from cache_protocol.local import Question
from cache_protocol.ranges import Span, cut
from replica_agent.arenas.bounce import Bounce, read_at
from replica_agent.core.schedule import Part
from replica_agent.local.disk_time import DiskTime
from replica_agent.local.loans import Loans, LocalError
from replica_agent.transfer import FileState, Transfer

# Bytes. As in ``lanes``: what is read, hashed and stored stays in the second-level cache.
PIECE = 512 * 2**10
# The kernel cuts a longer wish short on disks of small requests (mm/readahead.c).
ADVICE = 256 * 2**10  # bytes


class LocalSource:
    """What one lane reads on this host. One thread uses it, another may watch ``disk``."""

    def __init__(self, transfer: Transfer, path: Path | None) -> None:
        """Read files of ``transfer`` that the node at ``path`` lends; None: nobody does."""
        self.disk = DiskTime()
        self._transfer = transfer
        self._path = path
        self._loans: Loans | None = None
        self._lease = ""  # that of ``_loans``
        self._file = -1  # index in the manifest
        self._fd: int | None = None
        self._bounce = Bounce()

    def read(self, part: Part) -> Part:
        """Bring what can be had of ``part`` to its place; return it with that noted.

        Raises:
            AbandonedError: the disk took too long; the part belongs to somebody else by now.
            CapacityError: the arena takes no more.
        """
        if self._path is None or part.tries:
            return part
        try:
            fd = self._lent(part.file)
            if fd is None:
                return part
            self._read_ahead(fd, part.missing(self._state(part).file.size))
            for chunk in part.chunks[len(part.received) :]:
                self._check()
                digest = self._read_chunk(fd, self._state(part), chunk)
                part = part._replace(received=(*part.received, digest))
                self._transfer.progressed()
        except LocalError as error:
            self._end(error)
        return part

    def put_down(self) -> None:
        """Close the file that is open: a file that goes meanwhile must not wait for us."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Give everything back."""
        self.put_down()
        if self._loans is not None:
            self._loans.close()
            self._loans = None

    def _state(self, part: Part) -> FileState:
        return self._transfer.files[part.file]

    def _lent(self, file: int) -> int | None:
        """Return a descriptor of a file, the one at hand or a new one; None: not whole yet."""
        if self._fd is None or self._file != file:
            self.put_down()
            self._file, self._fd = file, self._borrow(file)
        return self._fd

    def _borrow(self, file: int) -> int | None:
        lease = self._transfer.manifest.lease.id
        if lease != self._lease:  # a node that was restarted knows the old one no more
            self.close()
        if self._path is not None and self._loans is None:
            self._loans, self._lease = Loans(self._path), lease
        target = self._transfer.address(file).content.path
        size = self._transfer.files[file].file.size
        return None if self._loans is None else self._loans.borrow(Question(target, lease), size)

    def _check(self) -> None:
        if self._transfer.over:
            raise LocalError("the transfer is over")
        if self._loans is None or self._loans.ended:
            raise LocalError("the node took back what it had lent")

    def _read_chunk(self, fd: int, state: FileState, chunk: int) -> bytes:
        hasher = ChunkHash()
        for piece in cut(chunk_span(chunk, state.file.size), PIECE):
            room = state.arena.room(state.number, piece)
            self._fetch(fd, room, piece)
            hasher.update(room)
            state.arena.store(state.number, piece, room)
            self._transfer.read_here(piece.size)
        return hasher.digest()

    def _fetch(self, fd: int, room: memoryview, piece: Span) -> None:
        """Fill ``room``: from memory at once, or else from the disk.

        What the disk gives comes into a buffer first: should it come when this lane was given up,
        ``room`` is somebody else's.
        """
        there = read_cached(fd, room, piece.begin)
        if there == piece.size:
            return
        rest = self._bounce.room(piece.size - there)
        with self.disk.reading():
            try:
                read_at(fd, rest, piece.begin + there)
            except OSError as error:
                why = f"{self._transfer.files[self._file]}, byte {piece.begin}: {error.strerror}"
                raise LocalError(why) from error
        room[there:] = rest

    def _read_ahead(self, fd: int, span: Span) -> None:
        """Ask the disk for ``span`` in one go, unless its begin is in memory."""
        if read_cached(fd, memoryview(bytearray(1)), span.begin):
            return
        # A full queue makes whoever asks wait. No is no harm: the reads say what the disk gives.
        with self.disk.reading(), suppress(OSError):
            for piece in cut(span, ADVICE):
                os.posix_fadvise(fd, piece.begin, piece.size, os.POSIX_FADV_WILLNEED)

    def _end(self, why: LocalError) -> None:
        """Read nothing here any more."""
        self._path = None
        self.close()
        if not self._transfer.over:
            self._transfer.remark(f"read over the network from here on: {why}")


def read_cached(fd: int, room: memoryview, place: int) -> int:
    """Return how many bytes of ``room`` were filled from the page cache; never waits for a disk."""
    try:
        return os.preadv(fd, [room], place, os.RWF_NOWAIT)
    except OSError:  # EAGAIN: not in memory; EOPNOTSUPP: a file system that cannot tell
        return 0
