"""How a family of metrics is written: a name, a help, and a value per set of labels.

Names follow Prometheus: ``warmline_``, the unit in the plural, ``_total`` for what only grows.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from cache_server.core.histogram import Histogram

PREFIX = "warmline_"
Values = Iterable[tuple[tuple[str, ...], float]]  # the labels' values, and the metric's
Word = TypeVar("Word", bound=str)


def gauge(name: str, text: str, value: float) -> Metric:
    """Return what is so now."""
    return GaugeMetricFamily(PREFIX + name, text, value=value)


def gauges(name: str, text: str, labels: Sequence[str], values: Values) -> Metric:
    """Return what is so now, by labels."""
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def counter(name: str, text: str, value: float) -> Metric:
    """Return what has been counted since the start; ``_total`` is put behind ``name``."""
    return CounterMetricFamily(PREFIX + name, text, value=value)


def counters(name: str, text: str, labels: Sequence[str], values: Values) -> Metric:
    """Return what has been counted since the start, by labels."""
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for key, value in values:
        family.add_metric(key, value)
    return family


def histograms(
    name: str, text: str, labels: Sequence[str], values: Iterable[tuple[tuple[str, ...], Histogram]]
) -> Metric:
    """Return how values are spread, by labels."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for key, histogram in values:
        buckets = [(_bound(bound), count) for bound, count in histogram.cumulative()]
        family.add_metric(key, buckets, histogram.total)
    return family


def by_word(words: Iterable[Word], counts: Mapping[Word, float]) -> Values:
    """Return ``counts`` by one label; what was never counted is nought, not absent.

    A graph of what has not happened yet is a line at nought, and the first time it happens is an
    increase that an alert sees.
    """
    return [((str(word),), counts.get(word, 0)) for word in sorted(words)]


def _bound(bound: float) -> str:
    return "+Inf" if bound == math.inf else str(float(bound))
