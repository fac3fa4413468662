"""How long answers of the control plane take. Counted on the event loop alone, without a lock.

By route as the API describes it, never by path: ids in a label would be a series for each.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from prometheus_client.core import Metric

from cache_server.core.histogram import REQUEST_SECONDS, Histogram
from cache_server.metrics.families import counters, histograms

ELSEWHERE = "other"  # the route of a request that has none
# There as soon as its route is: an increase from nothing at all is none, and an alert looks for it.
BUG = "500"


class RequestTimes:
    """Times and statuses by route."""

    def __init__(self) -> None:
        self._times: defaultdict[tuple[str, str], Histogram] = defaultdict(
            lambda: Histogram(REQUEST_SECONDS)
        )
        self._statuses: Counter[tuple[str, str, str]] = Counter()

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer; ``seconds`` until its last byte was handed over."""
        self._times[method, route].observe(seconds)
        self._statuses[method, route, BUG] += 0
        self._statuses[method, route, str(status)] += 1

    def families(self) -> Iterator[Metric]:
        """Return all of it."""
        yield histograms(
            "http_request_duration_seconds",
            "Time that the control plane took to answer.",
            ("method", "route"),
            list(self._times.items()),
        )
        yield counters(
            "http_responses",
            "Answers of the control plane.",
            ("method", "route", "status"),
            list(self._statuses.items()),
        )
