"""One file that is not kept: where its bytes come from, span by span, and what is known of it.

    replica ── GET span ──> a turn ──> one stream from the origin, a MiB at a time ──> replica
                                          ├──> xxh3-128 of each chunk that passes whole ──> table
                                          └──> window ──> replicas that ask meanwhile

The table vouches for the way from this node to the replica; that the bytes are what the origin
promised can only be seen by who has all of a file, and that is the replica.
"""

import threading
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING

from cache_protocol.digests import (
    CHUNK_SIZE,
    DIGEST_SIZE,
    ChunkHash,
    chunk_count,
    chunk_span,
)
from cache_protocol.errors import CacheError, Retry
from cache_protocol.names import shown
from cache_protocol.ranges import Span
from cache_server.core.chunk_map import ChunkMap
from cache_server.core.content import OriginFile
from cache_server.fill.pieces import Pause, RemoteFile, pieces
from cache_server.fill.window import Passing

if TYPE_CHECKING:
    from cache_server.fill.passing import PassingGeneration

PIECE = 2**20  # bytes; what one stream holds in memory
EXTENT = 4  # chunks that one stream brings; what a replica asks for at once
FOLLOW_WAIT = 5.0  # seconds without a byte after which who follows pulls for itself
TICK = 0.5  # seconds within which a reader that left is noticed while it follows


class NotKeptError(CacheError):
    """The node did not keep the file, so that it cannot say anything about the whole of it."""

    code = "not-kept"
    retry = Retry.NOW  # a fresh manifest says how else to make sure
    title = "The node does not keep this file"


class PassingFile:
    """See ``ports.ReadableFile`` for what readers are promised."""

    def __init__(
        self, index: int, model: str, origin: OriginFile, generation: "PassingGeneration"
    ) -> None:
        """Describe file number ``index`` of ``generation``; no I/O."""
        self.model = model
        self.origin = origin
        self.etag = f'"{generation.id}-{index}"'  # of the same bytes as those of a kept file
        self.sha256: bytes | None = None  # nobody here will ever know
        self.ended = False  # there is no file to cut off
        self._generation = generation
        self._map = ChunkMap(origin.size)
        self._window = generation.bounds.window
        self._lock = threading.Lock()  # guards the map

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.origin.size

    def lend(self) -> None:
        """There is no file of it on this node; see the port."""

    def stream(self, span: Span, pause: Pause) -> Generator[memoryview]:
        """Bring ``span``, from other replicas' streams or from the origin; see the port."""
        at = span.begin
        while at < span.end:
            left = Span(at, span.end)
            with self._window.followed((self, at // CHUNK_SIZE)) as passing:
                way = self._follow(passing, left, pause) if passing else self._pull(left, pause)
                with closing(way):
                    for piece in way:
                        yield piece
                        at += len(piece)

    def _follow(self, passing: Passing, span: Span, pause: Pause) -> Generator[memoryview]:
        """Yield what of ``span`` is in one chunk that somebody pulls or has pulled.

        Ends early when he leaves, or is slower than we want to be: who follows a replica that
        takes its bytes one by one would be as slow.
        """
        begin = chunk_span(span.begin // CHUNK_SIZE, self.size).begin
        at, end = span.begin - begin, min(span.end - begin, passing.size)
        waited = 0.0
        while at < end and waited < FOLLOW_WAIT and not (passing.abandoned and passing.there <= at):
            piece = passing.beyond(at, TICK)[: end - at]
            if piece:
                waited = 0.0
                yield piece
                at += len(piece)
            else:
                waited += TICK
                pause(0)
        if at < end:
            self._window.drop((self, span.begin // CHUNK_SIZE))

    def _pull(self, span: Span, pause: Pause) -> Generator[memoryview]:
        """Yield ``span``, or the front of it, from the origin; others may follow."""
        first, run = span.begin // CHUNK_SIZE, self._whole_chunks(span)
        names, sizes = [(self, c) for c in run], [chunk_span(c, self.size).size for c in run]
        with (
            self._generation.remote(self, pause) as remote,
            self._window.claimed(names, sizes) as claims,
        ):
            if not claims and self._window.has((self, first)):
                return  # somebody was faster
            # What nobody can follow is brought as well, in runs of the same length.
            end = (first + (len(claims) or len(run) or 1)) * CHUNK_SIZE
            yield from self._pieces(remote, Span(span.begin, min(end, span.end)), claims, pause)

    def _whole_chunks(self, span: Span) -> range:
        """Return the chunks at the front of ``span`` that lie in it, those of one stream."""
        first = span.begin // CHUNK_SIZE
        if span.begin != first * CHUNK_SIZE:
            return range(0)
        end = chunk_count(self.size) if span.end == self.size else span.end // CHUNK_SIZE
        return range(first, min(end, first + EXTENT))

    def _pieces(
        self, remote: RemoteFile, span: Span, claims: list[Passing], pause: Pause
    ) -> Generator[memoryview]:
        first, seen = span.begin // CHUNK_SIZE, ChunkHash()
        buffer = memoryview(bytearray(min(PIECE, span.size)))
        for at, piece in pieces(remote, span, buffer=buffer, pause=pause):
            chunk = chunk_span(at // CHUNK_SIZE, self.size)
            if at == chunk.begin:
                seen = ChunkHash()
            seen.update(piece)
            if at + len(piece) == chunk.end and span.begin <= chunk.begin:
                self._record(at // CHUNK_SIZE, seen.digest())  # before its last byte leaves
            if claims:
                claims[at // CHUNK_SIZE - first].put(piece)
            self._generation.pulled(len(piece))
            yield piece

    def open(self) -> int:
        """There is nothing to open; see the port."""
        raise self._not_kept()

    def present_until(self, offset: int, timeout: float) -> int:  # noqa: ARG002 - the origin's
        """Return how far digests are known from ``offset`` on; one that is not is worked out."""
        chunk = offset // CHUNK_SIZE
        self._look_at(chunk)
        with self._lock:
            return min(self._map.run_end(chunk) * CHUNK_SIZE, self.size)

    def digests(self, chunks: range, timeout: float) -> bytes:  # noqa: ARG002 - the origin's
        """Return the digests of ``chunks`` as they passed last; see the port."""
        for chunk in chunks:
            self._look_at(chunk)
        with self._lock:
            return bytes(self._map.table[chunks.start * DIGEST_SIZE : chunks.stop * DIGEST_SIZE])

    def verdict(self, timeout: float) -> bytes:  # noqa: ARG002 - no time changes it
        """Refuse: this node never had all of the file."""
        raise self._not_kept()

    def failed(self, offset: int, error: Exception) -> None:
        """Nothing is read from the disk, so this does not happen; see the port."""

    def revalidate(self, chunk: int, timeout: float) -> None:  # noqa: ARG002 - nothing to wait for
        """Have ``chunk`` come from the origin anew: nothing is kept that could be repaired."""
        self._window.drop((self, chunk))

    def _look_at(self, chunk: int) -> None:
        """Have the digest of ``chunk``, if need be by pulling it for nothing else.

        Needed after a restart of the node, by a replica that has the chunk from before it.
        """
        while not self._map.has(chunk):  # who follows another stream sees it, too, when it broke
            pause = self._generation.pause
            with closing(self.stream(chunk_span(chunk, self.size), pause)) as passing:
                for _ in passing:
                    pass

    def _record(self, chunk: int, digest: bytes) -> None:
        # The last one counts. Where an origin sends now this, now that, a replica whose chunk is
        # the other one sees two digests that differ, and asks for the chunk again.
        with self._lock:
            self._map.record(chunk, digest)

    def _not_kept(self) -> NotKeptError:
        return NotKeptError(
            f"{shown(self.origin.path)} passes through this node and is not kept: hold it "
            "against the digest in the manifest"
        )
