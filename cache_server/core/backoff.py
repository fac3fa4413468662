"""When to ask an origin again that did not answer, and when to give up."""

from datetime import timedelta

FIRST = 0.25  # seconds; with full jitter above it the first retry comes within 0.5 s
LONGEST = 15.0  # seconds between two tries, unless the origin itself asks for more
PATIENCE = timedelta(seconds=60)  # an origin's Retry-After above this is a refusal
ATTEMPTS = 8  # without one byte of progress; 0.5 + 1 + 2 + 4 + 8 + 15 + 15: about 45 s


def delay(attempt: int, *, chance: float, retry_after: float | None = None) -> float | None:
    """Return the seconds to wait before try number ``attempt`` + 1; None means give up.

    Args:
        attempt: tries that failed since the last byte of progress, at least 1.
        chance: a fresh random number in [0, 1); it spreads callers that failed together.
        retry_after: what the origin asked for, in seconds.
    """
    if attempt >= ATTEMPTS or (retry_after or 0) > PATIENCE.total_seconds():
        return None
    ours: float = min(LONGEST, FIRST * 2 ** (attempt - 1)) * (1 + chance)
    # The origin's wish is a lower bound; jitter on top, or all callers return at once.
    return ours if retry_after is None else max(ours, retry_after + chance * FIRST)
