"""What many starts say together: percentiles, and whether starts have become slower. Pure.

Reports come newest first, as the ledger of boots keeps them. A group is one pipeline in one region
by one start path: nothing else can be held against each other.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median
from typing import Any, NamedTuple

LATEST = 10  # boots that are held against the ones before
EARLIER = 50  # boots before them
FEWEST_EARLIER = 10  # below it chance says more than they do
GROWTH = 1.1  # ratio of the medians: what grew by less is nobody's work for today
FLOOR = 0.2  # seconds: nor is what a person does not feel
SIGNIFICANT = 3.0  # standard deviations: chance alone does it once in 700 looks
UNKNOWN = "unknown"  # the region of reports from before regions were noted

Report = Mapping[str, Any]  # as the ledger gives it: the contract's fields, and whose it is


class Group(NamedTuple):
    """Boots that can be held against each other."""

    tenant: str
    pipeline: str
    region: str
    start_path: str


@dataclass(frozen=True, slots=True)
class Spread:
    """How values are spread, in seconds."""

    p50: float
    p90: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Regression:
    """The last boots are slower than the ones before, and not by chance."""

    before: float  # seconds: the median time to ready of the EARLIER ones
    now: float  # seconds: that of the LATEST
    phase: str | None  # the one that grew; None where reports have no phases
    phase_before: float  # seconds: its median
    phase_now: float

    @property
    def growth(self) -> float:
        """Seconds that a start takes longer."""
        return self.now - self.before


@dataclass(frozen=True, slots=True)
class BootStats:
    """One group's boots."""

    group: Group
    boots: int
    failed: int  # of them; their times count nowhere below
    sources: Mapping[str, int]  # boots by who served the bytes: cache, pass-through, origin
    time_to_ready: Spread | None  # None: none was ok
    weight_wait: Spread | None
    phases: Mapping[str, Spread]  # in the order in which they begin
    regression: Regression | None


def summarise(reports: Iterable[Report]) -> list[BootStats]:
    """Return the figures of every group in ``reports`` (newest first), in order of names."""
    groups: dict[Group, list[Report]] = {}
    for report in reports:
        groups.setdefault(group_of(report), []).append(report)
    return [_stats(group, groups[group]) for group in sorted(groups)]


def group_of(report: Report) -> Group:
    """Return the group that ``report`` belongs to."""
    region = report.get("region") or UNKNOWN
    return Group(report["tenant"], report["pipeline"], region, report["start_path"])


def spread(values: Sequence[float]) -> Spread | None:
    """Return how ``values`` are spread; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    p50, p90, p99 = (percentile(ordered, share) for share in (0.5, 0.9, 0.99))
    return Spread(p50, p90, p99, ordered[-1])


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of ``ordered`` lies, between two neighbours."""
    place = share * (len(ordered) - 1)
    low = ordered[math.floor(place)]
    return low + (ordered[math.ceil(place)] - low) * (place % 1)


def find_regression(reports: Sequence[Report]) -> Regression | None:
    """Return how the LATEST of ``reports`` are slower than the EARLIER ones; None if not.

    ``reports`` are of one group, ok, newest first.
    """
    latest, earlier = reports[:LATEST], reports[LATEST : LATEST + EARLIER]
    if len(latest) < LATEST or len(earlier) < FEWEST_EARLIER:
        return None
    now, before = _times(latest), _times(earlier)
    if not _grew(median(before), median(now)) or _superiority(now, before) < SIGNIFICANT:
        return None
    phase = _phase_that_grew(latest, earlier)
    medians = (_typical(earlier, phase), _typical(latest, phase)) if phase else (0.0, 0.0)
    return Regression(median(before), median(now), phase, *medians)


def _stats(group: Group, reports: Sequence[Report]) -> BootStats:
    good = [report for report in reports if report["ok"]]
    return BootStats(
        group,
        boots=len(reports),
        failed=len(reports) - len(good),
        sources=_count(report["source"] for report in reports),
        time_to_ready=spread(_times(good)),
        weight_wait=spread([report["weight_wait"] for report in good]),
        phases=_phases(good),
        regression=find_regression(good),
    )


def _count(words: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


def _times(reports: Iterable[Report]) -> list[float]:
    return [report["time_to_ready"] for report in reports]


def _phases(reports: Sequence[Report]) -> dict[str, Spread]:
    """Return how long each phase took where it came; a boot that lacks one says nothing of it."""
    lengths: dict[str, list[float]] = {}
    starts: dict[str, list[float]] = {}
    for phase in chain.from_iterable(report["phases"] for report in reports):
        lengths.setdefault(phase["name"], []).append(phase["seconds"])
        starts.setdefault(phase["name"], []).append(phase["start"])
    in_order = sorted(lengths, key=lambda name: median(starts[name]))
    return {name: found for name in in_order if (found := spread(lengths[name])) is not None}


def _grew(before: float, now: float) -> bool:
    return now >= before * GROWTH and now - before >= FLOOR


def _superiority(now: Sequence[float], before: Sequence[float]) -> float:
    """Return by how many standard deviations ``now`` ranks above ``before`` (Mann-Whitney's U).

    By ranks, since times of starts are skewed: one that hung for ten minutes counts as one.
    """
    pairs = len(now) * len(before)
    wins = sum((a > b) + 0.5 * (a == b) for a in now for b in before)
    deviation = math.sqrt(pairs * (len(now) + len(before) + 1) / 12)
    return (wins - pairs / 2) / deviation


def _phase_that_grew(latest: Sequence[Report], earlier: Sequence[Report]) -> str | None:
    """Return the phase whose growth the start felt most.

    ``pull`` runs beside the engine's own start: of what it grew, the start feels no more than
    ``weight-wait`` grew. Where both grew alike, the pull is the cause.
    """
    names = {phase["name"] for report in chain(latest, earlier) for phase in report["phases"]}
    grown = {name: _typical(latest, name) - _typical(earlier, name) for name in names}
    felt = dict(grown)
    if grown.keys() >= {"pull", "weight-wait"}:
        felt["pull"] = min(grown["pull"], max(grown["weight-wait"], 0.0))
    return max(sorted(names), key=lambda name: (felt[name], grown[name]), default=None)


def _typical(reports: Sequence[Report], name: str) -> float:
    """Return the median seconds of a phase; a boot without it spent none."""
    lengths: list[float] = [
        sum(phase["seconds"] for phase in report["phases"] if phase["name"] == name)
        for report in reports
    ]
    return median(lengths)
