"""Chunks that pass through the node now, for all replicas that want them at about the same time.

    who asks first       claims a chunk, and writes it here while it comes from the origin
    who asks meanwhile   follows: reads what is there, waits for the rest
    after that           it stays until its memory is needed for another chunk

So a burst of replicas costs the origin one stream and not one each. Memory is fixed: where no
chunk can leave, nothing is claimed, and whoever asks has the bytes for itself alone.
"""

import mmap
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from cache_protocol.digests import CHUNK_SIZE

# 256 MiB. One replica has up to 16 chunks under way, and one that started later lags by the rest:
# three replicas of 870 MB that start together cost an origin as fast as they are 1.1 to 1.7 times
# its bytes, with 24 chunks 2.0 times.
WINDOW = 32  # chunks

_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # counted as memory of ours, not as shared
Name = tuple[object, int]  # whose chunk, and which


@dataclass(eq=False, slots=True)
class Passing:
    """One chunk on its way. It grows at its end, and what is there never changes."""

    memory: memoryview
    size: int  # bytes
    there: int = 0  # bytes
    abandoned: bool = False  # no more of it comes
    users: int = 0  # that read or write it; guarded by the window, as is the next
    listed: bool = True  # whether others may find it
    changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, piece: memoryview) -> None:
        """Add ``piece``; whoever follows wakes up."""
        self.memory[self.there : self.there + len(piece)] = piece
        with self.changed:
            self.there += len(piece)
            self.changed.notify_all()

    def beyond(self, at: int, timeout: float) -> memoryview:
        """Wait for bytes from ``at`` on; return those that are there, none after ``timeout`` s."""
        with self.changed:
            self.changed.wait_for(lambda: self.there > at or self.abandoned, timeout)
            return self.memory[at : self.there]


class Window:
    """At most ``limit`` chunks. Safe for threads."""

    def __init__(self, limit: int = WINDOW) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._chunks: dict[Name, Passing] = {}  # the one that was used last at the end
        self._taken = 0  # chunks' worth of memory, also of those that are not listed any more

    @contextmanager
    def followed(self, name: Name) -> Iterator[Passing | None]:
        """Keep the chunk called ``name`` during the block; None if it is not here."""
        with self._lock:
            passing = self._chunks.pop(name, None)
            if passing is not None:
                self._chunks[name] = passing
                passing.users += 1
        try:
            yield passing
        finally:
            if passing is not None:
                with self._lock:
                    self._leave(passing)

    @contextmanager
    def claimed(self, names: Sequence[Name], sizes: Sequence[int]) -> Iterator[list[Passing]]:
        """Claim the first of ``names``, as many in a row as nobody has and as there is memory for.

        What is not whole at the end of the block is abandoned.
        """
        claims: dict[Name, Passing] = {}
        with self._lock:
            for name, size in zip(names, sizes, strict=True):
                if name in self._chunks or (memory := self._memory()) is None:
                    break
                claims[name] = self._chunks[name] = Passing(memory, size, users=1)
        try:
            yield list(claims.values())
        finally:
            self._end(claims)

    def has(self, name: Name) -> bool:
        """Whether the chunk called ``name`` is here."""
        return name in self._chunks

    def drop(self, name: Name) -> None:
        """Let nobody find the chunk called ``name`` any more."""
        with self._lock:
            self._unlist(name)

    def drop_where(self, gone: Callable[[Name], bool]) -> None:
        """Let nobody find the chunks whose name is ``gone``."""
        with self._lock:
            for name in [n for n in self._chunks if gone(n)]:
                self._unlist(name)

    def _end(self, claims: dict[Name, Passing]) -> None:
        with self._lock:
            for name, passing in claims.items():
                if passing.there < passing.size and self._chunks.get(name) is passing:
                    self._unlist(name)
                self._leave(passing)
        for passing in claims.values():
            with passing.changed:
                passing.abandoned = True
                passing.changed.notify_all()

    def _memory(self) -> memoryview | None:
        """Return memory for one more chunk: new, or that of the one that nobody used for longest.

        New memory comes by mmap and not from the heap, so that all of it goes back in the end.
        """
        if self._taken < self._limit:
            self._taken += 1
            return memoryview(mmap.mmap(-1, CHUNK_SIZE, flags=_PRIVATE))
        for name, passing in self._chunks.items():
            if not passing.users:
                del self._chunks[name]
                return passing.memory
        return None

    def _unlist(self, name: Name) -> None:
        passing = self._chunks.pop(name, None)
        if passing is not None:
            passing.listed = False
            self._taken -= not passing.users

    def _leave(self, passing: Passing) -> None:
        passing.users -= 1
        self._taken -= not passing.users and not passing.listed
