"""What the byte plane counts. Safe for threads; reading takes a snapshot."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Stats:
    """The counts at one moment."""

    connections: int  # open now
    active: int  # answers that run now
    bytes_sent: int  # of bodies, since the start
    requests: int  # answered or cut, since the start
    refused: Mapping[str, int] = field(default_factory=dict)  # since the start, by reason
    # "403", "503", …  answered with this status       "reader-left"  went away before the end
    # "fill-failed"    cut in the middle of an answer  "stalled"      took nothing for send_time
    # "disk"           the disk failed in the middle of an answer
    # "truncated"      the file on disk is too short   "slow-head"    request not whole in time
    # "given-up"       the generation went, by force, in the middle of an answer
    # "accept"         no descriptor to accept with    "unexpected"   a bug; the log has it
    # "closing"        cut because the node stops      "crowded"      had to go, without a ticket
    # "handshake"      no TLS could be agreed on, or not in time


class Tally:
    """The counters behind ``Stats``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bytes_sent = 0
        self._requests = 0
        self._refused: Counter[str] = Counter()

    def sent(self, size: int) -> None:
        """Count bytes that left."""
        with self._lock:
            self._bytes_sent += size

    def request(self) -> None:
        """Count one request."""
        with self._lock:
            self._requests += 1

    def refused(self, reason: str) -> None:
        """Count one answer that was not given, or not to its end."""
        with self._lock:
            self._refused[reason] += 1

    def snapshot(self, *, connections: int, active: int) -> Stats:
        """Return all counts."""
        with self._lock:
            return Stats(connections, active, self._bytes_sent, self._requests, dict(self._refused))
