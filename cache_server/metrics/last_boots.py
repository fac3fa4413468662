"""The last start of each pipeline, and whether its starts have become slower.

Read from the ledger of boots when somebody looks, and then only what has changed since: a report
that comes costs nothing here, neither time nor memory.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key
from cache_server.core.access import ALL_TENANTS
from cache_server.core.boot_stats import EARLIER, LATEST, Regression, summarise
from cache_server.metrics.boots import phase_label

MAX_STALE = 100  # pipelines that are read one by one; beyond it all are read at once


@dataclass(frozen=True, slots=True)
class LastBoot:
    """The last start of one pipeline."""

    at: datetime  # UTC, when its report came
    ready: float  # seconds
    phases: Mapping[str, float]  # seconds, by ``boots.phase_label``
    regression: Regression | None  # of the group that grew most


class LastBoots:
    """What is known of last starts. Safe for threads.

    Of pipelines that are shown, and of no other: anybody who may report may make names up.
    """

    def __init__(self, boots: Boots) -> None:
        self._boots = boots
        # One reads at a time: of two, the later one would go without what the earlier one still
        # reads, and the one that ends last would put back what the other one saw change.
        self._reading = threading.Lock()
        self._lock = threading.Lock()  # guards ``_fresh``; never held while the database is read
        self._fresh: set[Key] = set()  # nothing has come of them since they were read
        self._known: dict[Key, LastBoot] = {}

    def changed(self, key: Key) -> None:
        """Take note of a new report."""
        with self._lock:
            self._fresh.discard(key)

    def read(self, shown: AbstractSet[Key]) -> Mapping[Key, LastBoot]:
        """Return the last start of each of ``shown`` that has any.

        Raises:
            DiskError: the database cannot be read; the next call tries again.
        """
        with self._reading:
            # Reports go by age and number, but the last one of a pipeline is the last to go.
            known = {**self._known, **self._news(shown)}
            self._known = {key: boot for key, boot in known.items() if key in shown}
            return self._known

    def _news(self, shown: AbstractSet[Key]) -> dict[Key, LastBoot]:
        """Read what has come of ``shown`` since the last time."""
        with self._lock:
            stale = shown - self._fresh
            # Before they are read: a report that comes meanwhile makes them stale again.
            self._fresh = set(shown)
        try:
            return self._read(stale)
        except BaseException:
            with self._lock:
                self._fresh.clear()
            raise

    def _read(self, stale: AbstractSet[Key]) -> dict[Key, LastBoot]:
        count = LATEST + EARLIER
        if len(stale) > MAX_STALE:
            return _last_boots(self._boots.last_of_each(ALL_TENANTS, None, count))
        reports = [self._boots.last(key.tenant, {key.id}, count) for key in sorted(stale)]
        return _last_boots(report for of_one in reports for report in of_one)


def _last_boots(reports: Iterable[Mapping[str, Any]]) -> dict[Key, LastBoot]:
    """Return the last start of each pipeline in ``reports``, which come newest first."""
    in_order = sorted(reports, key=_key)  # stable: those of one pipeline stay newest first
    return {key: _last_boot(list(of_one)) for key, of_one in groupby(in_order, _key)}


def _key(report: Mapping[str, Any]) -> Key:
    return Key(report["tenant"], report["pipeline"])


def _last_boot(reports: Sequence[Mapping[str, Any]]) -> LastBoot:
    last = reports[0]
    slower = [s.regression for s in summarise(reports) if s.regression is not None]
    return LastBoot(
        datetime.fromisoformat(last["received"]),
        last["time_to_ready"],
        _phases(last),
        max(slower, key=lambda r: r.growth, default=None),
    )


def _phases(report: Mapping[str, Any]) -> dict[str, float]:
    """Return seconds by phase; what has no name in the contract is one."""
    phases: dict[str, float] = {}
    for phase in report["phases"]:
        name = phase_label(phase["name"])
        phases[name] = phases.get(name, 0.0) + phase["seconds"]
    return phases
