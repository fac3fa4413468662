"""Starts of replicas as histograms, from the reports that they send.

No label names a pipeline here: phases times buckets times thousands of pipelines are more series
than a Prometheus should be given. What a pipeline's own starts were like says the ledger of boots
(``GET /v1/boots/stats``), and ``last_boots`` of the last one.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from prometheus_client.core import Metric

from cache_server.core.histogram import START_SECONDS, Histogram
from cache_server.metrics.families import counters, histograms

# The contract's. A replica may send another word; each would be a series that nobody asked for.
PHASES = (
    "allocate",
    "agent-start",
    "manifest",
    "pull",
    "engine-import",
    "weight-wait",
    "load",
    "warm-up",
    "first-token",
)
START_PATHS = ("cold",)
SOURCES = ("cache", "pass-through", "origin")
RESULTS = ("ok", "failed")
OTHER = "other"


def phase_label(name: str) -> str:
    """Return ``name`` if it is a phase of the contract."""
    return name if name in PHASES else OTHER


class BootTimes:
    """Histograms of starts. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # There before they happen for the first time: an increase from nothing at all is none.
        nothing = dict.fromkeys(product(START_PATHS, SOURCES, RESULTS), 0)
        self._boots: Counter[tuple[str, str, str]] = Counter(nothing)
        self._ready = _histograms(product(START_PATHS, SOURCES))
        self._phases = _histograms(product(PHASES, START_PATHS))

    def observe(self, report: Mapping[str, Any]) -> None:
        """Count one start; times of one that failed say nothing of how fast starts are."""
        path = report["start_path"] if report["start_path"] in START_PATHS else OTHER
        with self._lock:
            self._boots[path, report["source"], "ok" if report["ok"] else "failed"] += 1
            if not report["ok"]:
                return
            self._ready[path, report["source"]].observe(report["time_to_ready"])
            for phase in report["phases"]:
                self._phases[phase_label(phase["name"]), path].observe(phase["seconds"])

    def families(self) -> list[Metric]:
        """Return all of it."""
        with self._lock:
            return [
                counters(
                    "boots",
                    "Starts that replicas reported.",
                    ("start_path", "source", "result"),
                    self._boots.items(),
                ),
                histograms(
                    "boot_ready_seconds",
                    "Time from a replica's start until it was ready, by who served the bytes.",
                    ("start_path", "source"),
                    self._ready.items(),
                ),
                histograms(
                    "boot_phase_seconds",
                    "Time that a phase of a start took.",
                    ("phase", "start_path"),
                    self._phases.items(),
                ),
            ]


def _histograms(known: Iterable[tuple[str, str]]) -> defaultdict[tuple[str, str], Histogram]:
    empty = {labels: Histogram(START_SECONDS) for labels in known}
    return defaultdict(lambda: Histogram(START_SECONDS), empty)
