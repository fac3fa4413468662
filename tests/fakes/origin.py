"""A working origin in memory, with faults to order and counts of what it sent.

origin = MemoryOrigin({"model.safetensors": data})
origin.break_after("model.safetensors", 100)      the next stream of it ends after 100 bytes
origin.corrupt("model.safetensors", 0, times=1)   chunk 0 comes wrong in the next stream of it
with origin.held(): …                             streams that are read wait until the end
"""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from threading import Condition, Event, Lock

from cache_protocol.digests import CHUNK_SIZE, git_blob_hash
from cache_protocol.errors import (
    OriginChangedError,
    OriginError,
    OriginNotFoundError,
    OriginUnavailableError,
)
from cache_protocol.ranges import Span
from cache_server.core.content import Listing, ModelSpec, OriginFile
from cache_server.core.tenants import Terms

PIECE = 2**20  # bytes that one readinto brings at most
GATE_TIMEOUT = 30.0  # seconds; a test that forgets its gate fails instead of hanging


class MemoryOrigin:
    """Files by path. ``git`` names files that come with a git blob id instead of a sha256."""

    def __init__(
        self,
        files: dict[str, bytes] | None = None,
        *,
        digests: bool = True,
        git: frozenset[str] | set[str] = frozenset(),
        rate: float | None = None,
    ) -> None:
        """Args: digests: whether sha256 and blob ids are announced; rate: bytes/s in all."""
        self.files = dict(files or {})
        self.digests, self.git = digests, git
        self.gate = Event()  # streams wait for it before every piece
        self.gate.set()
        self.requests: list[tuple[str, Span]] = []  # spans that were opened
        self.sent: Counter[str] = Counter()  # bytes handed out, by path
        self.resolves = 0
        self.restricted = False  # whether it is private or gated
        self.checks = 0  # questions whether it may still be read
        self.closed = False
        self._pace = Pace(rate)
        self._changed = Condition(Lock())
        self._waiting = 0
        self._breaks: defaultdict[str, list[int]] = defaultdict(list)
        self._wrong: Counter[tuple[str, int]] = Counter()
        self._errors: list[OriginError] = []
        self._resolve_errors: list[OriginError] = []
        self._check_errors: list[OriginError] = []
        self._denial: OriginError | None = None

    # faults

    def break_after(self, path: str, count: int, *, times: int = 1) -> None:
        """Break the next ``times`` streams of ``path`` after ``count`` bytes."""
        with self._changed:
            self._breaks[path] += [count] * times

    def corrupt(self, path: str, chunk: int, *, times: int = 1) -> None:
        """Send a wrong first byte of ``chunk`` for the next ``times`` reads of it."""
        with self._changed:
            self._wrong[path, chunk] += times

    def fail(self, error: OriginError, *, times: int = 1) -> None:
        """Raise ``error`` from the next ``times`` opens."""
        with self._changed:
            self._errors += [error] * times

    def fail_resolve(self, error: OriginError, *, times: int = 1) -> None:
        """Raise ``error`` from the next ``times`` resolves."""
        with self._changed:
            self._resolve_errors += [error] * times

    def fail_check(self, error: OriginError, *, times: int = 1) -> None:
        """Raise ``error`` from the next ``times`` questions whether it may still be read."""
        with self._changed:
            self._check_errors += [error] * times

    def deny(self, error: OriginError | None) -> None:
        """Raise ``error`` from every resolve, check and open from now on; None ends it."""
        self._denial = error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let every stream stall before its next piece until the end of the ``with``."""
        self.gate.clear()
        try:
            yield
        finally:
            self.gate.set()

    def wait_until_stalled(self, streams: int = 1, timeout: float = GATE_TIMEOUT) -> None:
        """Return when ``streams`` streams wait at the gate."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._waiting >= streams, timeout)

    def wait_until_sent(self, path: str, count: int, timeout: float = GATE_TIMEOUT) -> None:
        """Return when ``count`` bytes of ``path`` have been handed out."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.sent[path] >= count, timeout)

    # ports.Origin

    def resolve(self) -> Listing:
        with self._changed:
            self.resolves += 1
            self._raise_ordered(self._resolve_errors)
        files = tuple(self._file(path) for path in sorted(self.files))
        revision = hashlib.sha1(repr(files).encode()).hexdigest()
        return Listing(revision, files, self.restricted)

    def check_access(self) -> None:
        with self._changed:
            self.checks += 1
            self._changed.notify_all()
            self._raise_ordered(self._check_errors)

    @contextmanager
    def open(
        self, listing_revision: str, file: OriginFile, span: Span
    ) -> Iterator["_MemoryStream"]:
        assert 0 <= span.begin < span.end <= file.size, span
        with self._changed:
            self.requests.append((file.path, span))
            self._raise_ordered(self._errors)
            breaks = self._breaks[file.path]
            limit = breaks.pop(0) if breaks else None
        if file.path not in self.files:
            raise OriginNotFoundError(f"there is no {file.path}")
        if self._file(file.path).tag != file.tag:
            raise OriginChangedError(f"{file.path} has changed")
        yield _MemoryStream(self, file.path, self.files[file.path], span, limit)

    def close(self) -> None:
        self.closed = True

    def _raise_ordered(self, errors: list[OriginError]) -> None:
        if self._denial is not None:
            raise self._denial
        if errors:
            raise errors.pop(0)

    def _file(self, path: str) -> OriginFile:
        data = self.files[path]
        sha256 = hashlib.sha256(data).hexdigest()
        file = OriginFile(path, len(data), tag=sha256)
        if not self.digests:
            return file
        if path in self.git:
            blob = git_blob_hash(len(data))
            blob.update(data)
            return replace(file, git_sha1=blob.hexdigest())
        return replace(file, sha256=sha256)

    # what streams tell it

    def _piece_begins(self) -> None:
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
        opened = self.gate.wait(GATE_TIMEOUT)
        with self._changed:
            self._waiting -= 1
        if not opened:
            raise OriginUnavailableError("the origin stalled")

    def _piece_sent(self, path: str, count: int) -> None:
        self._pace.take(count)
        with self._changed:
            self.sent[path] += count
            self._changed.notify_all()

    def _is_wrong(self, path: str, offset: int) -> bool:
        """Return whether the byte at ``offset``, the first of a chunk, is to come wrong."""
        key = path, offset // CHUNK_SIZE
        with self._changed:
            wrong = self._wrong[key] > 0
            self._wrong[key] -= wrong
        return wrong


class _MemoryStream:
    def __init__(
        self, origin: MemoryOrigin, path: str, data: bytes, span: Span, limit: int | None
    ) -> None:
        self._origin, self._path = origin, path
        self._data = memoryview(data)
        self._at, self._end = span
        self._limit = limit  # bytes until it breaks

    def readinto(self, into: memoryview, /) -> int:
        self._origin._piece_begins()
        count = min(len(into), self._end - self._at, PIECE)
        if self._limit is not None:
            if self._limit == 0 and count:
                raise OriginUnavailableError("the stream broke")
            count = min(count, self._limit)
            self._limit -= count
        # A piece never runs over the border of a chunk, so that a wrong chunk begins a piece.
        count = min(count, CHUNK_SIZE - self._at % CHUNK_SIZE)
        into[:count] = self._data[self._at : self._at + count]
        if count and self._at % CHUNK_SIZE == 0 and self._origin._is_wrong(self._path, self._at):
            into[0] ^= 0xFF
        self._at += count
        self._origin._piece_sent(self._path, count)
        return count


class Pace:
    """A bandwidth shared by many threads: a token bucket with 50 ms of burst."""

    def __init__(self, rate: float | None) -> None:
        """Args: rate: bytes per second; None is no limit."""
        self._rate = rate
        self._lock = Lock()
        self._free_at = 0.0  # monotonic seconds at which all that was taken has been sent

    def take(self, count: int) -> None:
        """Wait until ``count`` more bytes may have been sent."""
        if self._rate is None:
            return
        with self._lock:
            start = max(self._free_at, time.monotonic() - 0.05)
            self._free_at = start + count / self._rate
            wait = self._free_at - time.monotonic()
        if wait > 0:
            time.sleep(wait)


class MemoryOrigins:
    """An ``OpenOrigin`` for tests: one MemoryOrigin per source."""

    def __init__(self, origins: dict[str, MemoryOrigin]) -> None:
        self.origins = origins
        self.opened: list[ModelSpec] = []
        self.terms: list[Terms] = []  # of each opening
        self.refusal: OriginError | None = None  # raised by every opening from now on

    def __call__(self, spec: ModelSpec, terms: Terms) -> MemoryOrigin:
        self.opened.append(spec)
        self.terms.append(terms)
        if self.refusal is not None:
            raise self.refusal
        return self.origins[spec.source]
