"""Which of those that wait gets the next turn, so that no tenant takes all of them. Pure.

The tenant with the fewest turns goes first, and among equals who waited longest; one that has as
many as it may lets others go before it.
"""

from collections.abc import Mapping, Sequence

from cache_server.core.shares import LimitOf


def next_turn(
    waiting: Sequence[str], taken: Mapping[str, int], *, limit: int, limit_of: LimitOf
) -> int | None:
    """Return who of ``waiting`` goes next, as an index; None: nobody may.

    Args:
        waiting: the tenant of each that waits, the longest waiting first.
        taken: how many turns each tenant has now; one that has none may be missing.
        limit: turns for all of them.
        limit_of: turns of one tenant.
    """
    if sum(taken.values()) >= limit:
        return None
    may = [n for n, tenant in enumerate(waiting) if _below(limit_of(tenant), taken.get(tenant, 0))]
    return min(may, key=lambda n: taken.get(waiting[n], 0), default=None)


def _below(limit: int | None, count: int) -> bool:
    return limit is None or count < limit
