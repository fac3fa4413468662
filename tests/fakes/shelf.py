"""A working shelf over temporary files, with gates: chunks come one at a time, fail, or go."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from cache_protocol.digests import CHUNK_SIZE, chunk_count, chunk_digest, chunk_span, verdict
from cache_protocol.errors import CacheError, GenerationGoneError

GENERATION = "0123456789abcdef" * 2


class FakeFile:
    """One file. Whole at once unless ``present`` names the chunks that are there."""

    def __init__(self, path: Path, content: bytes, present: set[int] | None = None) -> None:
        self.path = path
        self.content = content
        self._etag = f'"{chunk_digest(content).hex()}"'
        self.gone = False
        self.ended = False
        self.opened: list[int] = []
        self.failures: list[int] = []  # offsets that were said to be unreadable
        self.waited_for: list[int] = []  # chunks, as ``present_until`` was asked
        self.waiting = threading.Event()  # somebody waits for something
        self.revalidated: list[int] = []
        self.revalidation_error: CacheError | None = None
        self.sha256 = bytes(range(32))
        self.confirmed = present is None
        self._chunks = range(chunk_count(len(content)))
        self._present = set(self._chunks) if present is None else set()
        self._error: CacheError | None = None
        self._changed = threading.Condition()
        path.write_bytes(content if present is None else bytes(len(content)))
        for chunk in sorted(present or ()):
            self.land(chunk)

    # -- gates: what the test orders --------------------------------------------------------

    def land(self, chunk: int) -> None:
        """Write a chunk and mark it present."""
        span = chunk_span(chunk, self.size)
        with self.path.open("r+b") as file:
            file.seek(span.begin)
            file.write(self.content[span.begin : span.end])
        with self._changed:
            self._present.add(chunk)
            self._changed.notify_all()

    def confirm(self) -> None:
        """Let the verdict be known."""
        with self._changed:
            self.confirmed = True
            self._changed.notify_all()

    def fail(self, error: CacheError) -> None:
        """Let the fill fail for every waiter, now and later."""
        with self._changed:
            self._error = error
            self._changed.notify_all()

    # -- the port ---------------------------------------------------------------------------

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def etag(self) -> str:
        return self._etag

    def open(self) -> int:
        if self.gone:
            raise GenerationGoneError("the generation has been given up")
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self.opened.append(fd)
        return fd

    def lend(self) -> int | None:
        return self.open() if self.confirmed else None

    def failed(self, offset: int, error: Exception) -> None:
        self.failures.append(offset)

    def stream(self, span, pause) -> None:
        """Everything here is on disk."""

    def present_until(self, offset: int, timeout: float) -> int:
        chunk = offset // CHUNK_SIZE
        self.waited_for.append(chunk)
        self._wait(lambda: chunk in self._present, timeout)
        while chunk in self._present:
            chunk += 1
        return min(chunk * CHUNK_SIZE, self.size)

    def digests(self, chunks: range, timeout: float) -> bytes:
        self._wait(lambda: self._present.issuperset(chunks), timeout)
        return b"".join(self._digest(chunk) for chunk in chunks)

    def verdict(self, timeout: float) -> bytes:
        self._wait(lambda: self.confirmed, timeout)
        return verdict(self.sha256, self.table)

    def revalidate(self, chunk: int, timeout: float) -> None:
        self.revalidated.append(chunk)
        if self.revalidation_error is not None:
            raise self.revalidation_error
        self.land(chunk)

    # -- what a test compares with ----------------------------------------------------------

    @property
    def table(self) -> bytes:
        """The whole digest table."""
        return b"".join(self._digest(chunk) for chunk in self._chunks)

    def _digest(self, chunk: int) -> bytes:
        span = chunk_span(chunk, self.size)
        return chunk_digest(self.content[span.begin : span.end])

    def _wait(self, ready: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._changed:
            while not ready():
                if self._error is not None:
                    raise self._error
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{timeout} s passed")
                self.waiting.set()
                self._changed.wait(left)


class FakeShelf:
    """One generation of files below a directory of the test."""

    def __init__(self, directory: Path, generation: str = GENERATION) -> None:
        self.directory = directory
        self.generation = generation
        self.gone = False
        self.broken: Exception | None = None  # raised by the next ``find``
        self._files: dict[tuple[str, str], FakeFile] = {}

    def add(
        self, path: str, content: bytes, *, model: str = "m", present: set[int] | None = None
    ) -> FakeFile:
        """Put a file on the shelf; ``present`` names its chunks that are there, None means all."""
        on_disk = self.directory / f"{len(self._files)}.dat"
        file = self._files[model, path] = FakeFile(on_disk, content, present)
        return file

    def find(self, generation: str, model: str, path: str) -> FakeFile:
        if self.broken is not None:
            raise self.broken
        if self.gone or generation != self.generation:
            raise GenerationGoneError(f"no generation {generation}")
        try:
            return self._files[model, path]
        except KeyError:
            raise FileNotFoundError(path) from None
