"""How often values of some size came: a count per upper bound, and their sum. Pure; not locked."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

# Seconds. A warm manifest takes one millisecond, a cold one waits for its origin.
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
# Seconds. A start of a small model on a warm node, up to a large one that its origin drips.
START_SECONDS = (0.1, 0.25, 0.5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 300, 600)
# Seconds. A gigabyte from a near origin, up to a terabyte from a far one.
FILL_SECONDS = (1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)


class Histogram:
    """Counts of values by upper bound; a value that is a bound counts below it."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Count by ``bounds``, which rise; a last one without limit is added."""
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.total = 0.0  # of all values

    def observe(self, value: float) -> None:
        """Count ``value``."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[float, int]]:
        """Return for each bound how many values were not above it; the last bound is infinite."""
        counts = accumulate(list(self._counts))
        return list(zip((*self._bounds, float("inf")), counts, strict=True))
