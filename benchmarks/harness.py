"""Rows, rounds and the table: how a measurement becomes a line that says whether it is good.

A ratio is made within one round: the two sides run one after the other, in turns first, and the
median over the rounds is what counts. Absolute numbers of one machine say little; they are shown
so that a reader can see what the ratio is made of.
"""

import json
import statistics
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.children import ChildError
from benchmarks.node import NodeError


class SkippedError(RuntimeError):
    """A row cannot be measured here; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What a row promises: at least, or at most, a number."""

    limit: float
    at_least: bool
    unit: str = "x"

    def holds(self, value: float) -> bool:
        """Return whether ``value`` keeps the promise."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        """Return the promise for people."""
        return f"{'≥' if self.at_least else '≤'} {show(self.limit, self.unit)}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one row measured."""

    value: float
    ours: str  # for people
    reference: str  # for people
    samples: list[float] = field(default_factory=list)


On = TypeVar("On")  # what a row is measured on


@dataclass(frozen=True, slots=True)
class Row(Generic[On]):
    """One promise and how it is measured."""

    name: str  # for --only
    title: str
    bound: Bound
    measure: Callable[[On], Outcome]


@dataclass(frozen=True, slots=True)
class Result:
    """A row that was run, or why there is no outcome."""

    name: str
    title: str
    bound: Bound
    outcome: Outcome | None = None
    skipped: str = ""  # something is missing on this machine
    broken: str = ""  # a program failed

    @property
    def met(self) -> str:
        """Say in a word whether the promise is kept."""
        if self.outcome is None:
            return "broken" if self.broken else "skipped"
        return "yes" if self.bound.holds(self.outcome.value) else "no"


def at_least(limit: float, unit: str = "x") -> Bound:
    """Promise a value of ``limit`` or more."""
    return Bound(limit, at_least=True, unit=unit)


def at_most(limit: float, unit: str = "x") -> Bound:
    """Promise a value of ``limit`` or less."""
    return Bound(limit, at_least=False, unit=unit)


def interleave(
    ours: Callable[[], float], other: Callable[[], float], rounds: int
) -> list[tuple[float, float]]:
    """Return ``(ours, other)`` of every round; who goes first changes from round to round."""
    pairs: list[tuple[float, float]] = []
    for n in range(rounds):
        if n % 2:
            second = other()
            pairs.append((ours(), second))
        else:
            first = ours()
            pairs.append((first, other()))
    return pairs


def speed_ratio(
    ours: Callable[[], float], other: Callable[[], float], rounds: int, size: int
) -> Outcome:
    """Return how many times as fast ``ours`` moves ``size`` bytes as ``other``."""
    pairs = interleave(ours, other, rounds)
    ratios = [b / a for a, b in pairs]
    return Outcome(
        value=statistics.median(ratios),
        ours=_rate(size, (a for a, _ in pairs)),
        reference=_rate(size, (b for _, b in pairs)),
        samples=ratios,
    )


def time_ratio(ours: Callable[[], float], other: Callable[[], float], rounds: int) -> Outcome:
    """Return how many times as long ``ours`` takes as ``other``."""
    pairs = interleave(ours, other, rounds)
    ratios = [a / b for a, b in pairs]
    took, plain = (statistics.median(side) for side in zip(*pairs, strict=True))
    return Outcome(statistics.median(ratios), f"{took:.2f} s", f"{plain:.2f} s", ratios)


def run(rows: Iterable[Row[On]], on: On, console: Console) -> list[Result]:
    """Measure ``rows`` in order and say how each went as it ends; one that breaks stops none."""
    results: list[Result] = []
    for row in rows:
        with console.status(row.title):
            results.append(_measure(row, on))
        console.print(_line(results[-1]), soft_wrap=True)
    return results


def _measure(row: Row[On], on: On) -> Result:
    try:
        return Result(row.name, row.title, row.bound, row.measure(on))
    except SkippedError as why:
        return Result(row.name, row.title, row.bound, skipped=str(why))
    except (ChildError, NodeError, OSError, subprocess.SubprocessError) as why:
        return Result(row.name, row.title, row.bound, broken=f"{type(why).__name__}: {why}")


def table(results: list[Result], title: str) -> Table:
    """Return all results as a table."""
    made = Table(title=title, title_justify="left", header_style="bold", expand=False)
    for name in ("", "ours", "reference"):
        made.add_column(name)
    for name in ("result", "target"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("met", no_wrap=True)
    for result in results:
        made.add_row(*_cells(result))
    return made


def write_json(results: list[Result], about: dict[str, object], path: Path) -> None:
    """Write results and what they were measured on to ``path``."""
    fields = [
        {
            "row": r.name,
            "title": r.title,
            "target": str(r.bound),
            "met": r.met,
            "why": r.skipped or r.broken,
            **(asdict(r.outcome) if r.outcome else {}),
        }
        for r in results
    ]
    path.write_text(json.dumps({**about, "rows": fields}, indent=2) + "\n")


def show(value: float, unit: str) -> str:
    """Return ``value`` for people."""
    return f"{value:.2f} x" if unit == "x" else f"{value:.0f} {unit}"


_STYLES = {"yes": "green", "no": "red", "broken": "red", "skipped": "yellow"}


def _cells(result: Result) -> tuple[str, ...]:
    met = f"[{_STYLES[result.met]}]{result.met}[/]"
    outcome = result.outcome
    if outcome is None:
        return (result.title, "", "", "", str(result.bound), met)
    value = show(outcome.value, result.bound.unit)
    return (result.title, outcome.ours, outcome.reference, value, str(result.bound), met)


def _line(result: Result) -> str:
    title, ours, reference, value, target, met = _cells(result)
    if result.outcome is None:
        return f"{met}  {title}: {escape(result.skipped or result.broken)}"
    against = f" against {reference}" if reference else ""
    return f"{met}  {title}: {value} (target {target}); {ours}{against}"


def _rate(size: int, seconds: Iterable[float]) -> str:
    middle = statistics.median(seconds)
    return f"{size / middle / 1e9:.2f} GB/s ({middle:.2f} s)"
