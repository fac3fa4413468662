"""Which answers run for which generation, so that one that hangs in the disk takes no other along.

A thread in a read of a dead disk cannot be called back. So at most ``generation`` threads work for
one generation, and once ``hung`` of them hang in the disk, no further one is sent after them: who
asks is told so at once. With a quarter of all threads hanging a single one is enough.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache_protocol.errors import BusyError, DiskError
from cache_server.data.limits import Limits
from cache_server.data.request import RefusedError
from cache_server.data.wire import Wire


class Answers:
    """The answers that run now. Safe for threads."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        self._running: defaultdict[str, set[Wire]] = defaultdict(set)

    @contextmanager
    def admitted(self, generation: str, wire: Wire) -> Iterator[None]:
        """Count an answer of ``generation`` over ``wire`` for the length of the block.

        Raises:
            RefusedError: 429 at the bound of one generation; 503 while its answers hang.
        """
        with self._lock:
            self._check(self._running.get(generation, set()))
            self._running[generation].add(wire)
        try:
            yield
        finally:
            with self._lock:
                self._running[generation].discard(wire)
                if not self._running[generation]:
                    del self._running[generation]

    @property
    def generations(self) -> set[str]:
        """Those that bytes are sent of now."""
        with self._lock:
            return set(self._running)

    def _check(self, running: set[Wire]) -> None:
        if len(running) >= self._limits.generation:
            busy = BusyError(f"{len(running)} answers run for this generation")
            raise RefusedError(429, busy, {"Retry-After": "1"})
        hung = self._hung(running)
        if hung and hung >= self._bound(hung):
            dead = DiskError(f"{hung} reads of this generation hang in the disk")
            raise RefusedError(503, dead, {"Retry-After": "5"})

    def _bound(self, hung: int) -> int:
        everywhere = hung
        if hung < self._limits.hung:
            everywhere = sum(self._hung(running) for running in self._running.values())
        return 1 if everywhere > self._limits.active // 4 else self._limits.hung

    def _hung(self, running: set[Wire]) -> int:
        limit = self._clock() - self._limits.disk_time
        return sum(wire.hangs_since(limit) for wire in running)
