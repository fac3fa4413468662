"""Boots as bars: where the time of each start went, and how long starts take. Pure.

A boot has two lanes on one time line, because its phases overlap: what brings the weights runs
beside what the engine does.

    weights   manifest ▏ pull ━━━━━━━━━━━━━━━
    engine    agent-start ▏ engine-import ━━━━━━━━ weight-wait ━━ load ━ first-token ▏
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cache_server.core.boot_stats import Report, percentile

# In the order in which they begin; the contract's names.
PHASES = (
    "agent-start", "manifest", "pull", "engine-import", "weight-wait", "load", "warm-up",
    "first-token",
)  # fmt: skip
WEIGHTS = ("manifest", "pull")  # the lane of the bytes; all others are the engine's
WIDTH = 1000  # units of a whole time line
THIN = 2.0  # units: a phase of a millisecond can still be seen
STEPS = (1, 2, 2.5, 5, 10)  # what people read off an axis
BINS = 30  # of a distribution
FAR = 1.5  # times the 90th percentile: what took longer shares the last bin
SHORTEST = 0.1  # seconds that a distribution spans at least
LABEL = 340.0  # units below the last bin that its own words take on a phone: 'up to 1 min 22 s'


@dataclass(frozen=True, slots=True)
class Piece:
    """One phase on a time line."""

    name: str
    lane: int  # 0: weights, 1: engine
    x: float  # units
    width: float  # units
    start: float  # seconds after exec
    seconds: float

    @property
    def look(self) -> str:
        """The class of the style sheet; phases of later agents share one."""
        return self.name if self.name in PHASES else "other"


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of an axis."""

    x: float  # units
    seconds: float

    @property
    def words(self) -> str:
        """Say it, without zeros that say nothing."""
        return f"{self.seconds:g} s"


@dataclass(frozen=True, slots=True)
class Bin:
    """Boots that took about as long as each other."""

    begin: float  # seconds
    end: float  # seconds
    count: int
    x: float  # units
    width: float  # units
    height: float  # 0 to 1, of the fullest bin


def longest(reports: Iterable[Report]) -> float:
    """Return the seconds that a common time line of ``reports`` needs."""
    ends = [max(r["time_to_ready"], *(_end(p) for p in r["phases"]), 0.001) for r in reports]
    return max(ends, default=1.0)


def pieces(report: Report, length: float) -> list[Piece]:
    """Return the phases of ``report`` on a time line of ``length`` seconds, as they begin."""
    phases = sorted(report["phases"], key=lambda p: (p["start"], -p["seconds"]))
    return [_piece(phase, length) for phase in phases]


def ticks(end: float, begin: float = 0.0) -> list[Tick]:
    """Return the lines of a time line from ``begin`` to ``end``: at round numbers, nine at most."""
    length = end - begin
    power = 10.0 ** math.floor(math.log10(length / 5))
    step = next(s * power for s in STEPS if length / (s * power) <= 8)
    marks = range(math.ceil(begin / step), math.floor(end / step + 1e-9) + 1)
    return [Tick(_place(n * step, begin, end), round(n * step, 6)) for n in marks]


def _place(seconds: float, begin: float, end: float) -> float:
    # Bounded, because the sums before it round.
    return min(max((seconds - begin) / (end - begin), 0.0), 1.0) * WIDTH


def distribution(reports: Sequence[Report]) -> list[Bin]:
    """Return how often starts that were ok took how long, in bins of one width.

    The last bin has whatever took longer as well: one start that hung for ten minutes must not
    press all others into one bar. See ``beyond``.
    """
    times = sorted(r["time_to_ready"] for r in reports if r["ok"])
    if not times:
        return []
    begin = 0.9 * times[0]
    end = max(min(times[-1], FAR * percentile(times, 0.9)), begin + SHORTEST)
    width = (end - begin) / BINS
    counts = Counter(min(int((time - begin) / width), BINS - 1) for time in times)
    fullest, unit = max(counts.values()), WIDTH / BINS
    return [
        Bin(
            begin + n * width,
            begin + (n + 1) * width if n < BINS - 1 else max(end, times[-1]),
            counts[n],
            n * unit,
            unit,
            counts[n] / fullest,
        )
        for n in range(BINS)
    ]


def beyond(bins: Sequence[Bin]) -> Bin | None:
    """Return the last bin if it has starts that the axis does not reach: it needs words."""
    return bins[-1] if bins[-1].end > _reach(bins) * (1 + 1e-9) else None


def axis(bins: Sequence[Bin]) -> list[Tick]:
    """Return the lines below ``bins``, none where the words of a bin ``beyond`` stand."""
    most = WIDTH if beyond(bins) is None else WIDTH - LABEL
    return [tick for tick in ticks(_reach(bins), bins[0].begin) if tick.x <= most]


def _reach(bins: Sequence[Bin]) -> float:
    return bins[0].begin + (bins[0].end - bins[0].begin) * BINS


def _piece(phase: Mapping[str, Any], length: float) -> Piece:
    x = phase["start"] / length * WIDTH
    width = max(phase["seconds"] / length * WIDTH, THIN)
    lane = 0 if phase["name"] in WEIGHTS else 1
    return Piece(
        phase["name"], lane, min(x, WIDTH - width), width, phase["start"], phase["seconds"]
    )


def _end(phase: Mapping[str, Any]) -> float:
    return float(phase["start"] + phase["seconds"])
