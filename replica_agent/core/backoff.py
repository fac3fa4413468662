"""Decide how long to wait before trying again. Pure: the caller brings the dice."""

FIRST = 0.2  # seconds, before jitter: a restarted process listens again within that
LONGEST = 5.0  # seconds: a replica that waits for its weights must not sleep through a recovery
LONGEST_WISH = 30.0  # seconds of a Retry-After that are honoured


def pause(failures: int, dice: float, wish: float = 0.0) -> float:
    """Return the seconds to wait after ``failures`` failures in a row (1 is the first).

    Doubles each time up to LONGEST; ``dice`` in [0, 1) spreads it over the upper half, so that
    replicas that lost one node together do not come back together. ``wish`` is the node's own
    Retry-After.
    """
    longest = min(LONGEST, FIRST * 2.0 ** min(failures - 1, 16))
    return max(longest * (0.5 + dice / 2), min(wish, LONGEST_WISH))
