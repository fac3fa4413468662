"""How many fills run at once, of all and of each tenant; the others wait, and nobody takes it all.

A fill beyond its tenant's quota waits rather than being refused: its replicas have a manifest and
their places in line, where a refusal would send each of them to the origin. What waits is bounded
as well, since each is a thread.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cache_server.core.fair_turns import next_turn
from cache_server.core.shares import LimitOf, check_share

MAX_FILLS = 4  # at once, 8 connections each
MAX_WAITING = 64  # of one tenant that has a quota
TICK = 0.5  # seconds within which a stopped attempt is noticed while it waits


class _Waiting:
    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.goes = threading.Event()


class FillTurns:
    """Turns of one node. Safe for threads; attempts are counted with the service's lock held."""

    def __init__(self, limit_of: LimitOf, limit: int = MAX_FILLS) -> None:
        """Give ``limit`` turns at once; to each tenant as many as ``limit_of`` it says."""
        self._limit = limit
        self._limit_of = limit_of
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()
        self._waiting: list[_Waiting] = []  # the longest waiting first
        self._attempts: Counter[str] = Counter()  # those that have not come to their turn too

    def check(self, tenant: str) -> None:
        """Say whether ``tenant`` may begin one more; QuotaError when as many wait as may."""
        limit = self._limit_of(tenant)
        bound = limit + MAX_WAITING if limit else limit  # who may have none waits for nothing
        check_share("fills that run or wait", tenant, self._attempts[tenant], bound)

    def begins(self, tenant: str) -> None:
        """Count an attempt, from its first moment."""
        self._attempts[tenant] += 1

    def is_over(self, tenant: str) -> None:
        """Count an attempt no more."""
        self._attempts[tenant] -= 1
        if not self._attempts[tenant]:
            del self._attempts[tenant]  # tenants come and go

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
            self._hand_out()

    def _hand_out(self) -> None:
        """Let everybody go whose turn it is. With the lock held."""
        while (n := self._next()) is not None:
            waiting = self._waiting.pop(n)
            self._taken[waiting.tenant] += 1
            waiting.goes.set()

    def _next(self) -> int | None:
        tenants = [waiting.tenant for waiting in self._waiting]
        return next_turn(tenants, self._taken, limit=self._limit, limit_of=self._limit_of)
