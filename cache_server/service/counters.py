"""What the node has done since its start; shown by ``status`` and ``/metrics``.

Counting never fails and never waits for anything but another count.
"""

import threading
from collections import Counter

from cache_server.core.counted import Found, Leaving, Liar, Purpose
from cache_server.core.histogram import FILL_SECONDS, Histogram


class Counters:
    """Sums that many threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.pulled_for: Counter[Purpose] = Counter()  # bytes from origins
        self.found: Counter[Found] = Counter()  # questions for manifests, without ``hits``
        # Those that the event loop answers by itself: its thread alone counts here, so that the
        # way that every warm start takes needs no lock.
        self.hits = 0
        self.origin_requests: Counter[str] = Counter()  # by scheme
        self.origin_errors: Counter[tuple[str, str]] = Counter()  # by scheme and the error's code
        self.evictions: Counter[Leaving] = Counter()  # slots
        self.evicted: Counter[Leaving] = Counter()  # bytes
        self.wrong: Counter[Liar] = Counter()  # files or chunks that did not have their digest
        self.fill_failures: Counter[str] = Counter()  # by the error's code
        self.fill_seconds = Histogram(FILL_SECONDS)  # of fills that made a slot whole
        self.repaired = 0  # chunks that were wrong on disk and brought anew
        self.lost = 0  # files found missing or cut short on disk

    @property
    def pulled(self) -> int:
        """Bytes from origins."""
        return sum(self.pulled_for.values())

    def count_pulled(self, size: int, purpose: Purpose = Purpose.FILL) -> None:
        """Add ``size`` bytes."""
        with self._lock:
            self.pulled_for[purpose] += size

    def count_found(self, found: Found) -> None:
        """Add one question for a manifest."""
        with self._lock:
            self.found[found] += 1

    def count_origin_request(self, scheme: str) -> None:
        """Add one question to an origin, for a listing or for bytes."""
        with self._lock:
            self.origin_requests[scheme] += 1

    def count_origin_error(self, scheme: str, code: str) -> None:
        """Add one that failed, at once or on the way."""
        with self._lock:
            self.origin_errors[scheme, code] += 1

    def count_evicted(self, why: Leaving, slots: int, freed: int) -> None:
        """Add ``slots`` of ``freed`` bytes in all; what held no room was not evicted."""
        with self._lock:
            self.evictions[why] += slots if freed else 0
            self.evicted[why] += freed

    def count_wrong(self, who: Liar) -> None:
        """Add one file or chunk."""
        with self._lock:
            self.wrong[who] += 1

    def count_fill(self, seconds: float) -> None:
        """Add a fill that made its slot whole."""
        with self._lock:
            self.fill_seconds.observe(seconds)

    def count_fill_failure(self, code: str) -> None:
        """Add an attempt that failed with an error of ``code``."""
        with self._lock:
            self.fill_failures[code] += 1

    def count_repaired(self) -> None:
        """Add one chunk."""
        with self._lock:
            self.repaired += 1

    def count_lost(self) -> None:
        """Add one file."""
        with self._lock:
            self.lost += 1
