"""Who goes next, of those that wait for something that only a few may do at once.

The tenant with the fewest turns does: one whose origin drips does not keep all of them.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache_server.core.fair_turns import next_turn
from cache_server.core.shares import LimitOf, no_limit

TICK = 0.5  # seconds within which it is noticed that somebody does not want to wait any more


class _Waiting:
    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.goes = threading.Event()


class Turns:
    """Turns of one kind. Safe for threads."""

    def __init__(self, limit: int, limit_of: LimitOf = no_limit) -> None:
        """Give ``limit`` turns at once; to each tenant as many as ``limit_of`` it says."""
        self.limit = limit
        self._limit_of = limit_of
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []  # the longest waiting first

    @property
    def taken(self) -> int:
        """How many have a turn now."""
        with self._lock:
            return self._taken.total()

    @contextmanager
    def turn(self, tenant: str, check: Callable[[], None]) -> Iterator[None]:
        """Wait for a turn and hold it; ``check`` is called meanwhile, and raises to end it."""
        waiting = _Waiting(tenant)
        with self._lock:
            self._waiting.append(waiting)
            self._hand_out()
        try:
            while not waiting.goes.wait(TICK):
                check()
                self._look_again(waiting)
            yield
        finally:
            self._leave(waiting)

    def _look_again(self, waiting: _Waiting) -> None:
        """Hand out what a quota that was raised meanwhile permits; one of all who wait does."""
        with self._lock:
            if self._waiting and self._waiting[0] is waiting:
                self._hand_out()

    def _leave(self, waiting: _Waiting) -> None:
        with self._lock:
            if waiting.goes.is_set():
                self._taken[waiting.tenant] -= 1
            else:
                self._waiting.remove(waiting)
            self._taken += Counter()  # without those that have none: tenants come and go
            self._hand_out()

    def _hand_out(self) -> None:
        """Let everybody go whose turn it is. With the lock held."""
        while (n := self._next()) is not None:
            waiting = self._waiting.pop(n)
            self._taken[waiting.tenant] += 1
            waiting.goes.set()

    def _next(self) -> int | None:
        tenants = [waiting.tenant for waiting in self._waiting]
        return next_turn(tenants, self._taken, limit=self.limit, limit_of=self._limit_of)
