"""Decide which bytes to ask for next. Pure: knows sizes, never sockets.

    small files of all models      config and tokenizer: an engine cannot start without them
    then the large ones            in the order of the manifest, which engines read them in

Models take turns, so that several load side by side. A part that came back, because a
connection was lost or a digest was wrong, goes before everything else: somebody waits for it.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from cache_protocol.digests import CHUNK_SIZE, chunk_count
from cache_protocol.ranges import Span

EXTENT = 4  # chunks, 32 MiB: long enough to hide a round trip, short enough to share out
SMALL = CHUNK_SIZE  # bytes; a file of at most one chunk is small


class Part(NamedTuple):
    """A run of chunks of one file that one lane asks for."""

    file: int  # index into the files of the manifest
    chunks: range  # not empty
    received: tuple[bytes, ...] = ()  # digests of the first chunks: in place, not yet compared
    tries: int = 0  # transfers that brought wrong bytes

    def missing(self, size: int) -> Span:
        """Return the bytes still to come, of a file of ``size`` bytes; may be empty."""
        begin = min((self.chunks.start + len(self.received)) * CHUNK_SIZE, size)
        return Span(begin, min(self.chunks.stop * CHUNK_SIZE, size))


class Schedule:
    """Every chunk of every file, once; more often only what was given back."""

    def __init__(self, files: Sequence[tuple[str, int]], extent: int = EXTENT) -> None:
        """Plan for ``files``: the model and the size of each, in the order of the manifest.

        ``extent`` is the most chunks of a part.
        """
        small = [i for i, (_, size) in enumerate(files) if size <= SMALL]
        large = [i for i, (_, size) in enumerate(files) if size > SMALL]
        self._back: deque[Part] = deque()
        self._ahead = _parts_in_turn(files, extent, small, large)

    def take(self) -> Part | None:
        """Return the next part, or None when nothing is left to ask for now."""
        return self._back.popleft() if self._back else next(self._ahead, None)

    def give_back(self, part: Part) -> None:
        """Put ``part`` before everything that was not asked for yet."""
        self._back.append(part)


def _parts_in_turn(
    files: Sequence[tuple[str, int]], extent: int, *groups: list[int]
) -> Iterator[Part]:
    for group in groups:
        of_model: dict[str, list[int]] = {}
        for index in group:
            of_model.setdefault(files[index][0], []).append(index)
        yield from _in_turn([_parts(files, indices, extent) for indices in of_model.values()])


def _parts(files: Sequence[tuple[str, int]], indices: Iterable[int], extent: int) -> Iterator[Part]:
    for index in indices:
        count = chunk_count(files[index][1])
        for first in range(0, count, extent):
            yield Part(index, range(first, min(first + extent, count)))


def _in_turn(sources: list[Iterator[Part]]) -> Iterator[Part]:
    waiting = deque(sources)
    while waiting:
        source = waiting.popleft()
        part = next(source, None)
        if part is not None:
            waiting.append(source)
            yield part
