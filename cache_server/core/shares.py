"""How many of something each tenant holds, against a limit of its own. Pure and not locked.

What one tenant holds says nothing of what another one may take: that is bounded elsewhere, for
all of them together.
"""

from collections import Counter
from collections.abc import Callable

from cache_protocol.errors import QuotaError

LimitOf = Callable[[str], int | None]  # of a tenant; None: it has none


def no_limit(_tenant: str) -> None:
    """Limit nobody."""


class Shares:
    """Who holds how many."""

    def __init__(self, what: str, limit_of: LimitOf = no_limit) -> None:
        """Count ``what``, a plural for people; ``limit_of`` is asked anew with every one."""
        self._what = what
        self._limit_of = limit_of
        self._held: Counter[str] = Counter()

    def take(self, tenant: str) -> None:
        """Count one more for ``tenant``.

        Raises:
            QuotaError: it holds as many as it may, or more since its limit was lowered.
        """
        check_share(self._what, tenant, self._held[tenant], self._limit_of(tenant))
        self._held[tenant] += 1

    def give_back(self, tenant: str) -> None:
        """Count one less."""
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]  # tenants come and go

    def held(self, tenant: str) -> int:
        """Return how many ``tenant`` holds."""
        return self._held[tenant]


def check_share(what: str, tenant: str, used: int, limit: int | None) -> None:
    """Return if ``tenant``, which has ``used`` of ``what``, may have one more; else QuotaError."""
    if limit is not None and used >= limit:
        raise QuotaError(
            f"tenant {tenant} has {used} {what}, and its quota is {limit}; come back when it has "
            "fewer, or ask the node's operator for more",
            limit=limit,
            used=used,
        )
