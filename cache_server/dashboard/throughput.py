"""How fast bytes come in and go out, from counters that somebody looks at now and then.

Nothing is measured while nobody looks. Pure but for a lock: the caller brings clock and counters.
"""

import threading
from collections import deque
from dataclasses import dataclass

WINDOW = 10.0  # seconds that a speed is the mean over
SHORTEST = 0.9  # seconds: over less, a speed is noise


@dataclass(frozen=True, slots=True)
class Counts:
    """Bytes since the start of the node."""

    at: float  # monotonic seconds
    pulled: int  # from origins
    served: int  # to replicas


@dataclass(frozen=True, slots=True)
class Speeds:
    """Bytes a second."""

    pulled: float
    served: float


class Throughput:
    """The counters as they were during the last seconds. Safe for threads."""

    def __init__(self) -> None:
        self._seen: deque[Counts] = deque()
        self._lock = threading.Lock()

    def look(self, counts: Counts) -> Speeds | None:
        """Take note of ``counts``; return the speeds since up to WINDOW ago, None at first."""
        with self._lock:
            while self._seen and counts.at - self._seen[0].at > WINDOW:
                self._seen.popleft()
            if not self._seen or counts.at - self._seen[-1].at >= SHORTEST:
                self._seen.append(counts)
            return _speeds(self._seen[0], counts)


def _speeds(before: Counts, now: Counts) -> Speeds | None:
    passed = now.at - before.at
    if passed < SHORTEST:
        return None
    return Speeds((now.pulled - before.pulled) / passed, (now.served - before.served) / passed)
