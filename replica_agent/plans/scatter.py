"""From a span of a file to the places of its bytes in the ranks' memories. Pure: counts bytes.

    file      [header][ tensor a          ][ tensor b ]
    span               ........                            any, of any length
    writes    rank 0:  == == == ==                         the runs of its pieces, cut at the span
    kept      what no plan lays out, and somebody wants    stays where files are

Pieces are found by the stretches of the file that they lie in: whatever a plan says, a span is
held against those of its own stretches alone. A piece that crosses an end of the span is cut in at
most three writes: the end of a run, whole runs, the beginning of one.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cache_protocol.plans import Piece, Plan
from cache_protocol.ranges import Span

STRETCH = 8 * 2**20  # bytes


class Write(NamedTuple):
    """``runs`` runs of ``run`` bytes, from the span's own bytes into a rank's memory."""

    shard: int  # index into the plans
    source: int  # byte of the span where the first run begins
    place: int  # byte of the rank's memory where it goes
    run: int  # bytes
    runs: int
    pitch: int  # bytes from one run's beginning to the next one's, in the span
    stride: int  # the same, in the rank's memory


class _Placed(NamedTuple):
    """A piece as this module uses it."""

    begin: int  # byte of the file
    end: int  # of its last run
    shard: int
    place: int  # byte of the rank's memory
    piece: Piece


class _File(NamedTuple):
    """What is wanted of one file."""

    pieces: Mapping[int, Sequence[_Placed]]  # by each stretch that they lie in, in their order
    kept: Sequence[Span]  # in order, apart


class Scatter:
    """Where the bytes of one model's files go."""

    def __init__(self, plans: Sequence[Plan], paths: Sequence[str], stretch: int = STRETCH) -> None:
        """Follow ``plans``, one per rank, for the model's files ``paths``.

        A file that no plan names is kept whole. ``stretch`` is of any size, in bytes.
        """
        self._stretch = stretch
        index = {path: number for number, path in enumerate(paths)}
        pieces: Mapping[int, list[_Placed]] = {n: [] for n in range(len(paths))}
        kept: Mapping[int, list[Span]] = {n: [] for n in range(len(paths))}
        self._planned: set[int] = set()
        for shard, plan in enumerate(plans):
            numbers = [index[file.path] for file in plan.files]
            self._planned.update(numbers)
            for piece in plan.pieces:
                pieces[numbers[piece.file]].append(_placed(shard, plan, piece))
            for part in plan.kept:
                kept[numbers[part.file]].append(Span(part.begin, part.end))
        self._files = {n: _file(pieces[n], kept[n], stretch) for n in self._planned}

    def writes(self, file: int, span: Span) -> Iterator[Write]:
        """Yield what of ``span`` goes into ranks' memories."""
        if file not in self._planned:
            return
        pieces, stretch = self._files[file].pieces, self._stretch
        first = span.begin // stretch
        for number in range(first, -(-span.end // stretch)):
            for placed in pieces.get(number, ()):
                seen = max(placed.begin // stretch, first) < number  # in a stretch before
                if not seen and placed.begin < span.end and placed.end > span.begin:
                    yield from _cut(placed, span)

    def kept(self, file: int, span: Span) -> Iterator[Span]:
        """Yield the parts of ``span`` that stay in the file, in order."""
        if file not in self._planned:
            yield span
            return
        parts = self._files[file].kept
        for part in parts[bisect_right(parts, span.begin, key=lambda p: p.end) :]:
            if part.begin >= span.end:
                return
            yield Span(max(part.begin, span.begin), min(part.end, span.end))


def _placed(shard: int, plan: Plan, piece: Piece) -> _Placed:
    place = plan.places[piece.parameter] + piece.place
    return _Placed(piece.begin, piece.begin + piece.reach, shard, place, piece)


def _file(pieces: Sequence[_Placed], kept: Sequence[Span], stretch: int) -> _File:
    stretches: dict[int, list[_Placed]] = defaultdict(list)
    for placed in pieces:
        for number in range(placed.begin // stretch, -(-placed.end // stretch)):
            stretches[number].append(placed)
    return _File(dict(stretches), _joined(kept))


def _joined(spans: Sequence[Span]) -> list[Span]:
    joined: list[Span] = []
    for span in sorted(span for span in spans if span.size):
        if joined and span.begin <= joined[-1].end:
            joined[-1] = Span(joined[-1].begin, max(joined[-1].end, span.end))
        else:
            joined.append(span)
    return joined


def _cut(placed: _Placed, span: Span) -> Iterator[Write]:
    """Yield the parts of a piece that lie in ``span``."""
    piece = placed.piece
    begin, end = max(span.begin - placed.begin, 0), min(span.end, placed.end) - placed.begin
    row, into = divmod(begin, piece.pitch)
    if into:  # in the middle of a run, or between two
        part = Span(into, min(piece.run, end - row * piece.pitch))
        yield from _runs(placed, span, range(row, row + 1), part)
        row += 1
    rows, over = divmod(end, piece.pitch)
    whole = min(rows + (over >= piece.run), piece.runs)
    yield from _runs(placed, span, range(row, whole), Span(0, piece.run))
    if 0 < over < piece.run and rows >= row:
        yield from _runs(placed, span, range(rows, rows + 1), Span(0, over))


def _runs(placed: _Placed, span: Span, rows: range, part: Span) -> Iterator[Write]:
    """Yield ``part`` of each of the runs ``rows``, if there are any."""
    piece = placed.piece
    if rows and part.begin < part.end:
        yield Write(
            placed.shard,
            placed.begin + rows.start * piece.pitch + part.begin - span.begin,
            placed.place + rows.start * piece.stride + part.begin,
            part.size,
            len(rows),
            piece.pitch,
            piece.stride,
        )
