"""A generation that is not kept: each span comes from the origin when a replica asks for it.

    replica ── GET span ──> a turn ──> one stream from the origin, a MiB at a time ──> replica
                                          └──> xxh3-128 of each chunk that passes whole ──> table

For pipelines that there is no room for. Nothing here writes to the disk, and memory is bounded
by the turns. The table vouches for the way from this node to the replica; that the bytes are
what the origin promised can only be seen by who has all of a file, and that is the replica.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager

from cache_protocol.digests import CHUNK_SIZE, DIGEST_SIZE, ChunkHash, chunk_span
from cache_protocol.errors import (
    BusyError,
    CacheError,
    GenerationGoneError,
    OriginChangedError,
    Retry,
)
from cache_protocol.names import shown
from cache_protocol.ranges import Span
from cache_server.core.chunk_map import ChunkMap
from cache_server.core.content import Content, OriginFile
from cache_server.fill.pieces import Pause, RemoteFile, pieces
from cache_server.ports import Origin

MAX_STREAMS = 32  # from origins at once, on the whole node; 8 replicas of 4 lanes
PIECE = 2**20  # bytes; what one stream holds in memory
TURN_WAIT = 30.0  # seconds; half of what a replica waits for a byte before it hangs up
TICK = 0.5  # seconds within which a reader that left is noticed while it waits for its turn


class NotKeptError(CacheError):
    """The node did not keep the file, so that it cannot say anything about the whole of it."""

    code = "not-kept"
    retry = Retry.NOW  # a fresh manifest says how else to make sure
    title = "The node does not keep this file"


class Turns:
    """How many streams there may be at once. Safe for threads."""

    def __init__(self, limit: int = MAX_STREAMS) -> None:
        self.taken = 0  # streams that run now
        self._limit = limit
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, pause: Pause) -> Iterator[None]:
        """Wait for a turn and hold it; ``pause`` is called while it takes longer.

        Raises:
            BusyError: there was none for too long.
        """
        deadline = time.monotonic() + TURN_WAIT
        while not self._take():
            if time.monotonic() >= deadline:
                raise BusyError(f"{self._limit} streams from origins run, and none ended in time")
            pause(0)
        try:
            yield
        finally:
            with self._changed:
                self.taken -= 1
                self._changed.notify()

    def _take(self) -> bool:
        with self._changed:
            if not self._changed.wait_for(lambda: self.taken < self._limit, TICK):
                return False
            self.taken += 1
            return True


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
        self._generation = generation
        self._map = ChunkMap(origin.size)
        self._lock = threading.Lock()  # guards the map

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.origin.size

    def stream(self, span: Span, pause: Pause) -> Generator[memoryview]:
        """Bring ``span`` from the origin, piece by piece; see the port."""
        buffer = memoryview(bytearray(min(PIECE, span.size)))
        seen: ChunkHash | None = None  # of the present chunk, if it is seen from its first byte
        with self._generation.remote(self, pause) as remote:
            for at, piece in pieces(remote, span, buffer=buffer, pause=pause):
                chunk = at // CHUNK_SIZE
                if at == chunk * CHUNK_SIZE:
                    seen = ChunkHash()
                if seen is not None:
                    seen.update(piece)
                    if at + len(piece) == chunk_span(chunk, self.size).end:
                        self._record(chunk, seen.digest())  # before its last byte leaves
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

    def revalidate(self, chunk: int, timeout: float) -> None:
        """Nothing is kept that could be wrong: every request brings the bytes anew."""

    def _look_at(self, chunk: int) -> None:
        """Have the digest of ``chunk``, if need be by pulling it for nothing else.

        Needed after a restart of the node, by a replica that has the chunk from before it.
        """
        if not self._map.has(chunk):
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


class PassingGeneration:
    """The files of one generation that passes through. Safe for threads; ``close`` it."""

    def __init__(
        self,
        content: Content,
        origins: Mapping[str, Origin],
        turns: Turns,
        *,
        reason: str,
        pulled: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Serve ``content`` from ``origins`` by model, which belong to it from now on.

        Args:
            content: what was resolved.
            origins: by name of the model.
            turns: of the node.
            reason: why it is not kept, for the replica's report.
            pulled: is told the bytes that came from an origin, piece by piece.
        """
        self.id = content.generation  # that of the same content on disk: a replica may change over
        self.content = content
        self.reason = reason
        self.pulled = pulled
        self.changed: OriginChangedError | None = None  # its content is nowhere any more
        self.files = tuple(
            PassingFile(n, model.name, file, self)
            for n, (model, file) in enumerate(content.files())
        )
        self._by_name = {(f.model, f.origin.path): f for f in self.files}
        self._revisions = {m.name: m.revision for m in content.models}
        self._origins = origins
        self._turns = turns
        self._lock = threading.Lock()
        self._streams = 0
        self._gone = threading.Event()

    def file(self, model: str, path: str) -> PassingFile:
        """Return one file; FileNotFoundError if there is none of that name."""
        try:
            return self._by_name[model, path]
        except KeyError:
            raise FileNotFoundError(f"{model}/{path}") from None

    def pause(self, seconds: float) -> None:
        """Wait; GenerationGoneError as soon as the generation is closed."""
        if self._gone.wait(seconds):
            raise GenerationGoneError("the generation has been given up")

    @property
    def streaming(self) -> bool:
        """Whether bytes of it are on their way."""
        return self._streams > 0

    @contextmanager
    def remote(self, file: PassingFile, pause: Pause) -> Iterator[RemoteFile]:
        """Hold the node's turn and the origin of ``file`` for one stream."""
        with self._turns.turn(pause):
            self._enter()
            try:
                origin, revision = self._origins[file.model], self._revisions[file.model]
                yield RemoteFile(origin, revision, file.origin)
            except OriginChangedError as error:
                self.changed = error
                raise
            finally:
                self._leave()

    def close(self) -> None:
        """Let no stream begin; the last one that runs closes the origins."""
        with self._lock:
            first = not self._gone.is_set()
            self._gone.set()
            idle = self._streams == 0
        if first and idle:
            self._close_origins()

    def _enter(self) -> None:
        with self._lock:
            self.pause(0)
            self._streams += 1

    def _leave(self) -> None:
        with self._lock:
            self._streams -= 1
            last = self._streams == 0 and self._gone.is_set()
        if last:
            self._close_origins()

    def _close_origins(self) -> None:
        with ExitStack() as closing_all:  # all of them, whatever one says
            for origin in self._origins.values():
                closing_all.callback(origin.close)
