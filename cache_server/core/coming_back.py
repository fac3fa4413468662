"""When a client is asked to come back, where an origin has a wish of its own. Pure.

An origin may say "in a month", and programs do as they are told: a replica would be gone for good.
Who comes back too early is told again, and costs the origin nothing.
"""

import math

from cache_protocol.errors import CacheError, OriginUnavailableError

LONGEST = 60  # seconds, whatever an origin wishes


def wish_of(error: CacheError) -> int | None:
    """Return after how many seconds, at least 1, to come back; None: nobody has a wish."""
    wish = error.retry_after if isinstance(error, OriginUnavailableError) else None
    return None if wish is None else math.ceil(min(max(wish, 1.0), LONGEST))
