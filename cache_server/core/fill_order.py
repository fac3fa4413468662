"""What a fill pulls next: what a replica waits for, else the first that is missing.

Files come in the order of the generation (small ones first), chunks front to back, because that
is the order in which readers ask and in which sha256 must run. Pure and not locked.
"""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from cache_server.core.chunk_map import ChunkMap

# 32 MiB: long enough that a request's round trip (some 50 ms to a CDN) is small beside the
# transfer, short enough that eight connections share a 300 MB file evenly.
MAX_EXTENT = 4  # chunks


class Extent(NamedTuple):
    """A run of chunks of one file that one connection pulls."""

    file: int  # index in the generation
    begin: int  # first chunk
    end: int  # after the last


class FillOrder:
    """Hands out every missing chunk once; what is given back is handed out again."""

    def __init__(self, maps: Sequence[ChunkMap], *, connections: int) -> None:
        self._maps = maps
        self._claimed = [bytearray(m.has(i) for i in range(m.count)) for m in maps]
        self._open = sum(c.count(0) for c in self._claimed)  # chunks nobody has claimed
        self._first = 0  # no file before this one has an open chunk
        self._wanted: deque[tuple[int, int]] = deque()
        self._connections = connections

    def want(self, file: int, chunk: int) -> None:
        """Move ``chunk`` to the front: a reader waits for it. First come, first served."""
        if not self._claimed[file][chunk] and (file, chunk) not in self._wanted:
            self._wanted.append((file, chunk))

    def next(self) -> Extent | None:
        """Claim and return the next extent; None while everything is claimed."""
        while self._wanted:
            file, chunk = self._wanted.popleft()
            if not self._claimed[file][chunk]:
                return self._claim(file, chunk)
        while self._first < len(self._maps):
            chunk = self._claimed[self._first].find(0)
            if chunk >= 0:
                return self._claim(self._first, chunk)
            self._first += 1
        return None

    def give_back(self, file: int, chunks: range) -> None:
        """Make claimed ``chunks`` open again, because they must be pulled once more."""
        for chunk in chunks:
            self._open += self._claimed[file][chunk]
            self._claimed[file][chunk] = 0
        self._first = min(self._first, file)

    def _claim(self, file: int, begin: int) -> Extent:
        claimed = self._claimed[file]
        # Near the end shorter extents keep all connections busy until the last byte.
        limit = max(1, min(MAX_EXTENT, self._open // (2 * self._connections)))
        end = begin
        while end < len(claimed) and end - begin < limit and not claimed[end]:
            claimed[end] = 1
            end += 1
        self._open -= end - begin
        return Extent(file, begin, end)
