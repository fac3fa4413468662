"""Boots as bars: where the time of each start went, and how long starts take. Pure.

A boot has two lanes on one time line, because its phases overlap: what brings the weights runs
beside what the engine does.

    weights   manifest ▏ pull ━━━━━━━━━━━━━━━
    engine    agent-start ▏ engine-import ━━━━━━━━ weight-wait ━━ load ━ first-token ▏
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# In the order in which they begin; the contract's names.
PHASES = (
    "agent-start", "manifest", "pull", "engine-import", "weight-wait", "load", "warm-up",
    "first-token",
)  # fmt: skip
WEIGHTS = ("manifest", "pull")  # the lane of the bytes; all others are the engine's
WIDTH = 1000  # units of a whole time line
THIN = 2.0  # units: a phase of a millisecond can still be seen
STEPS = (1, 2, 2.5, 5, 10)  # what people read off an axis
BINS = 24  # of a distribution, at most


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


@dataclass(frozen=True, slots=True)
class Bin:
    """Boots that took about as long as each other."""

    begin: float  # seconds
    end: float  # seconds
    count: int
    x: float  # units
    width: float  # units
    height: float  # 0 to 1, of the fullest bin


Report = Mapping[str, Any]  # a boot report's fields, see the contract


def longest(reports: Iterable[Report]) -> float:
    """Return the seconds that a common time line of ``reports`` needs."""
    ends = [max(r["time_to_ready"], *(_end(p) for p in r["phases"]), 0.001) for r in reports]
    return max(ends, default=1.0)


def pieces(report: Report, length: float) -> list[Piece]:
    """Return the phases of ``report`` on a time line of ``length`` seconds, as they begin."""
    phases = sorted(report["phases"], key=lambda p: (p["start"], -p["seconds"]))
    return [_piece(phase, length) for phase in phases]


def ticks(length: float) -> list[Tick]:
    """Return the lines of a time line of ``length`` seconds: four to nine, at round numbers."""
    power = 10.0 ** math.floor(math.log10(length / 5))
    step = next(s for s in (s * power for s in STEPS) if length / s <= 8)
    return [Tick(n * step / length * WIDTH, n * step) for n in range(int(length / step) + 1)]


def distribution(reports: Sequence[Report]) -> list[Bin]:
    """Return how often starts that were ok took how long, from 0 on, in bins of one width."""
    times = [r["time_to_ready"] for r in reports if r["ok"]]
    if not times:
        return []
    width = max(*times, 0.001) / BINS
    counts = [0] * BINS
    for time in times:
        counts[min(int(time / width), BINS - 1)] += 1  # the slowest belongs to the last bin
    unit = WIDTH / BINS
    return [
        Bin(n * width, (n + 1) * width, count, n * unit, unit, count / max(counts))
        for n, count in enumerate(counts)
    ]


def _piece(phase: Mapping[str, Any], length: float) -> Piece:
    x = phase["start"] / length * WIDTH
    width = max(phase["seconds"] / length * WIDTH, THIN)
    lane = 0 if phase["name"] in WEIGHTS else 1
    return Piece(
        phase["name"], lane, min(x, WIDTH - width), width, phase["start"], phase["seconds"]
    )


def _end(phase: Mapping[str, Any]) -> float:
    return float(phase["start"] + phase["seconds"])
