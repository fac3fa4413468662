"""Origins: what they were asked, how they failed, and what the node made of their bytes."""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from prometheus_client.core import Metric

from cache_protocol.errors import (
    CacheError,
    CapacityError,
    DiskError,
    ForbiddenError,
    IntegrityError,
    MalformedError,
    OriginChangedError,
    OriginDeniedError,
    OriginNotFoundError,
    OriginUnavailableError,
    QuotaError,
    UnsafeContentError,
)
from cache_server.core.counted import Liar, Purpose
from cache_server.core.sources import Scheme
from cache_server.metrics.families import by_word, counter, counters, gauge, histograms
from cache_server.service.counters import Counters

SCHEMES = [scheme.value for scheme in Scheme]
# There before they happen for the first time: an increase from nothing at all is none, and alerts
# look for one. Other words come when they do.
ORIGIN_CODES = [
    kind.code
    for kind in (OriginNotFoundError, OriginDeniedError, OriginChangedError, OriginUnavailableError)
]
FILL_CODES = [
    *ORIGIN_CODES,
    *(kind.code for kind in (CapacityError, QuotaError, DiskError, IntegrityError)),
    *(kind.code for kind in (UnsafeContentError, MalformedError, ForbiddenError)),
    CacheError.code,  # a bug of ours
]


def origin_families(counts: Counters, status: Mapping[str, Any]) -> Iterator[Metric]:
    """Return everything about origins and fills; ``status`` is the service's."""
    yield from _asked(counts)
    yield from _fills(counts, status)
    yield from _passing(status)
    yield from _harm(counts)


def _asked(counts: Counters) -> Iterator[Metric]:
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


def _fills(counts: Counters, status: Mapping[str, Any]) -> Iterator[Metric]:
    failures = dict(counts.fill_failures)
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


def _passing(status: Mapping[str, Any]) -> Iterator[Metric]:
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
