"""How many fills run at once, of all and of each tenant; the others wait, and nobody takes it all.

A fill beyond its tenant's quota waits rather than being refused: its replicas have a manifest and
their places in line, where a refusal would send each of them to the origin. What waits is bounded
as well, since each is a thread.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

from cache_server.core.shares import LimitOf, check_share
from cache_server.fill.turns import Turns

MAX_FILLS = 4  # at once, 8 connections each
MAX_WAITING = 64  # of one tenant that has a quota
MAX_OF_TENANT = 256  # that run or wait, of one without: each takes a thread, and more to look up


class FillTurns:
    """Turns of one node. Safe for threads; attempts are counted with the service's lock held."""

    def __init__(self, limit_of: LimitOf, limit: int = MAX_FILLS) -> None:
        """Give ``limit`` turns at once; to each tenant as many as ``limit_of`` it says."""
        self._turns = Turns(limit, limit_of)
        self._limit_of = limit_of
        self._attempts: Counter[str] = Counter()  # those that have not come to their turn too

    def check(self, tenant: str) -> None:
        """Say whether ``tenant`` may begin one more; QuotaError when as many wait as may."""
        limit = self._limit_of(tenant)
        check_share("fills that run or wait", tenant, self._attempts[tenant], _bound(limit))

    def begins(self, tenant: str) -> None:
        """Count an attempt, from its first moment."""
        self._attempts[tenant] += 1

    def is_over(self, tenant: str) -> None:
        """Count an attempt no more."""
        self._attempts[tenant] -= 1
        if not self._attempts[tenant]:
            del self._attempts[tenant]  # tenants come and go

    def turn(self, tenant: str, check: Callable[[], None]) -> AbstractContextManager[None]:
        """Wait for a turn and hold it; ``check`` is called meanwhile, and raises to end it."""
        return self._turns.turn(tenant, check)


def _bound(limit: int | None) -> int:
    """Return how many of a tenant run or wait, of which ``limit`` may run at once."""
    if limit is None:
        return MAX_OF_TENANT
    return limit + MAX_WAITING if limit else 0  # who may have none waits for nothing
