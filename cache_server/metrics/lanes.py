"""The data plane: connections of replicas, what they were sent, and what was cut."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from prometheus_client.core import Metric

from cache_server.metrics.families import by_word, counter, counters, gauge

# There before they happen for the first time: an increase from nothing at all is none, and alerts
# look for one. Other words come when they do.
CUTS = ("disk", "fill-failed", "given-up", "reader-left", "stalled", "truncated", "unexpected")


class LaneCounts(Protocol):
    """What the data plane has counted; ``data.stats.Stats`` is one."""

    @property
    def connections(self) -> int:
        """Open now."""
        ...

    @property
    def active(self) -> int:
        """Answers that run now."""
        ...

    @property
    def bytes_sent(self) -> int:
        """Of bodies, since the start."""
        ...

    @property
    def requests(self) -> int:
        """Since the start."""
        ...

    @property
    def refused(self) -> Mapping[str, int]:
        """Answers that were not given, or not to their end, by reason, since the start."""
        ...


def lane_families(lanes: LaneCounts) -> Iterator[Metric]:
    """Return everything about the data plane."""
    yield gauge(
        "lanes", "Connections to the data plane, those of the S3 door too.", lanes.connections
    )
    yield gauge("answers_running", "Answers of the data plane that run now.", lanes.active)
    yield counter("served_bytes", "Bytes of bodies that the data plane sent.", lanes.bytes_sent)
    yield counter("data_requests", "Requests to the data plane.", lanes.requests)
    yield counters(
        "data_failures",
        "Answers of the data plane that were refused (a status) or cut (a word).",
        ("reason",),
        by_word({*CUTS, *lanes.refused}, lanes.refused),
    )
