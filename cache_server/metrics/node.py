"""The node as a whole: its room, what replicas asked for, bytes, and what went wrong."""

import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Protocol

from prometheus_client.core import Metric

from cache_protocol.errors import (
    CapacityError,
    DiskError,
    IntegrityError,
    OriginChangedError,
    OriginDeniedError,
    OriginNotFoundError,
    OriginUnavailableError,
)
from cache_server.core.counted import Found, Leaving, Liar, Purpose
from cache_server.core.slots import SlotState
from cache_server.core.sources import Scheme
from cache_server.metrics.families import (
    by_word,
    counter,
    counters,
    gauge,
    gauges,
    histograms,
)
from cache_server.service.counters import Counters
from cache_server.service.glance import Glance
from cache_server.service.service import Service

SCHEMES = [scheme.value for scheme in Scheme]
# What alerts look for is there before it happens for the first time: an increase from nothing at
# all is none. Other words come when they do.
ORIGIN_CODES = [
    kind.code
    for kind in (OriginNotFoundError, OriginDeniedError, OriginChangedError, OriginUnavailableError)
]
FILL_CODES = [*ORIGIN_CODES, CapacityError.code, DiskError.code, IntegrityError.code]
CUTS = ("disk", "fill-failed", "reader-left", "stalled", "truncated", "unexpected")


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


def node_families(service: Service, glances: Sequence[Glance]) -> Iterator[Metric]:
    """Return everything about the node but its data plane and its pipelines."""
    status = service.status()
    yield from _state(service, status)
    yield from _room(status, glances)
    yield from _asked(service)
    yield from _origins(service.counters, status)
    yield from _harm(service.counters)


def lane_families(lanes: LaneCounts) -> Iterator[Metric]:
    """Return everything about the data plane."""
    yield gauge("lanes", "Connections of replicas to the data plane.", lanes.connections)
    yield gauge("answers_running", "Answers of the data plane that run now.", lanes.active)
    yield counter("served_bytes", "Bytes that replicas were sent.", lanes.bytes_sent)
    yield counter("data_requests", "Requests to the data plane.", lanes.requests)
    yield counters(
        "data_failures",
        "Answers of the data plane that were refused (a status) or cut (a word).",
        ("reason",),
        by_word({*CUTS, *lanes.refused}, lanes.refused),
    )


def _state(service: Service, status: Mapping[str, Any]) -> Iterator[Metric]:
    version = importlib.metadata.version("warmline")
    yield gauges(
        "node_info", "The node.", ("version", "region"), [((version, status["region"]), 1)]
    )
    yield gauge("ready", "Whether new work should be sent here.", service.unready is None)
    yield gauge("disk_sick", "Whether the disk fails or hangs.", status["disk_sick"] is not None)
    yield gauges(
        "pipelines",
        "Registered pipelines by state.",
        ("state",),
        by_word(SlotState, status["pipelines"]),
    )


def _room(status: Mapping[str, Any], glances: Sequence[Glance]) -> Iterator[Metric]:
    yield gauge("capacity_bytes", "Room for slots.", status["capacity"])
    yield gauge("used_bytes", "Room that is booked, fills included.", status["used"])
    yield gauge(
        "reserved_bytes",
        "Part of the used room that is booked for what is not whole.",
        sum(map(_reserved, glances)),
    )
    yield gauge(
        "evictable_bytes",
        "Part of the used room that the policy would give up now if a fill needed it.",
        sum(each.booked for each in glances if _may_go(each)),
    )
    yield gauge("free_bytes", "Room that is not booked.", status["free"])
    yield gauge("disk_free_bytes", "What the file system has left.", status["disk_free"])


def _reserved(glance: Glance) -> int:
    if not glance.warm:
        return glance.booked
    # A newer generation beside one that is whole.
    return 0 if glance.fill is None else glance.fill.size or 0


def _may_go(glance: Glance) -> bool:
    held = glance.hot or glance.pinned or glance.readers or glance.fill is not None
    return not held and glance.state is not SlotState.EVICTING


def _asked(service: Service) -> Iterator[Metric]:
    counts = service.counters
    found = {**counts.found, Found.HIT: counts.found[Found.HIT] + counts.hits}
    yield counters(
        "manifests",
        "Manifests that replicas asked for: hit (warm), miss (a fill began), joined (one ran). "
        "What passes through was a miss or joined before.",
        ("result",),
        by_word(Found, found),
    )
    yield gauge("leases", "Holds of replicas on content.", service.leases.count)
    yield counters(
        "evictions",
        "Slots whose content was given up.",
        ("reason",),
        by_word(Leaving, counts.evictions),
    )
    yield counters(
        "evicted_bytes", "Room that evictions freed.", ("reason",), by_word(Leaving, counts.evicted)
    )


def _origins(counts: Counters, status: Mapping[str, Any]) -> Iterator[Metric]:
    failures = dict(counts.fill_failures)
    nothing = dict.fromkeys(product(SCHEMES, ORIGIN_CODES), 0)
    yield counters(
        "origin_bytes",
        "Bytes from origins by what they were for.",
        ("purpose",),
        by_word(Purpose, counts.pulled_for),
    )
    yield counters(
        "origin_requests",
        "Listings and ranges that origins were asked for.",
        ("scheme",),
        by_word(SCHEMES, counts.origin_requests),
    )
    yield counters(
        "origin_errors",
        "Requests to origins that failed, at once or on the way, by the error's code.",
        ("scheme", "code"),
        (nothing | counts.origin_errors).items(),
    )
    yield gauge("fills", "Fills that run or wait for their turn.", status["fills"])
    yield histograms(
        "fill_duration_seconds",
        "Time of fills that made a slot whole, from layout to publication.",
        (),
        [((), counts.fill_seconds)],
    )
    yield counters(
        "fill_failures",
        "Attempts at a fill that failed, by the error's code.",
        ("code",),
        by_word({*FILL_CODES, *failures}, failures),
    )
    yield gauge(
        "passing_pipelines",
        "Pipelines that are not kept and pass through from their origin.",
        status["passing_through"],
    )
    yield gauge(
        "passing_streams",
        "Streams from origins that run for what passes through.",
        status["origin_streams"],
    )


def _harm(counts: Counters) -> Iterator[Metric]:
    yield counters(
        "digest_failures",
        "Files or chunks that did not have their digest, by whose bytes they were.",
        ("from",),
        by_word(Liar, counts.wrong),
    )
    yield counter("repaired_chunks", "Chunks that were wrong on disk and mended.", counts.repaired)
    yield counter("lost_files", "Files of warm slots that were missing or short.", counts.lost)
