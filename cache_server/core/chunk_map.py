"""Which chunks of one file are there, and the digest of each: the table in memory.

The table is the map: a chunk is there when its sixteen bytes are not all zero. A real digest is
zero with a chance of 2**-128; such a chunk would be pulled again, for ever, and nothing worse.
"""

from collections.abc import Iterable

from cache_protocol.digests import ABSENT, DIGEST_SIZE, chunk_count, chunk_span


class ChunkMap:
    """Presence and digests of the chunks of a file of ``size`` bytes. Not locked."""

    def __init__(self, size: int, table: bytes = b"") -> None:
        """Start from ``table``, as far as it reaches: a table that is cut short is not lost."""
        self.size = size
        self.count = chunk_count(size)
        whole = len(table) // DIGEST_SIZE * DIGEST_SIZE
        self.table = bytearray(table[:whole].ljust(self.count * DIGEST_SIZE, b"\0"))
        del self.table[self.count * DIGEST_SIZE :]
        self._present = bytearray(self.digest(i) != ABSENT for i in range(self.count))
        self.filled = sum(self._bytes(i) for i in range(self.count) if self._present[i])

    @property
    def whole(self) -> bool:
        """Whether no chunk is missing; an empty file is whole from the start."""
        return self.filled == self.size

    def has(self, chunk: int) -> bool:
        """Whether ``chunk`` is there."""
        return self._present[chunk] == 1

    def digest(self, chunk: int) -> bytes:
        """Return the digest of ``chunk``, or ABSENT."""
        return bytes(self.table[chunk * DIGEST_SIZE : (chunk + 1) * DIGEST_SIZE])

    def record(self, chunk: int, digest: bytes) -> None:
        """Mark ``chunk`` as there."""
        self.table[chunk * DIGEST_SIZE : (chunk + 1) * DIGEST_SIZE] = digest
        if not self._present[chunk]:
            self._present[chunk] = 1
            self.filled += self._bytes(chunk)

    def drop(self, chunks: Iterable[int]) -> None:
        """Forget ``chunks``."""
        for chunk in chunks:
            self.table[chunk * DIGEST_SIZE : (chunk + 1) * DIGEST_SIZE] = ABSENT
            if self._present[chunk]:
                self._present[chunk] = 0
                self.filled -= self._bytes(chunk)

    def run_end(self, chunk: int) -> int:
        """Return the first missing chunk from ``chunk`` on; the number of chunks if none is."""
        missing = self._present.find(0, chunk)
        return self.count if missing < 0 else missing

    def _bytes(self, chunk: int) -> int:
        return chunk_span(chunk, self.size).size
