"""A speed limit for work that must not be felt: how long to pause after each step.

Pure: the caller brings the clock and waits.
"""


class Pace:
    """At most ``rate`` bytes per second, on the average over any stretch of work."""

    def __init__(self, rate: float) -> None:
        """Args: rate: bytes per second, above 0."""
        self._rate = rate
        self._free_at = 0.0  # monotonic seconds at which all that was done has been paid for

    def pause(self, size: int, now: float) -> float:
        """Return the seconds to pause after a step of ``size`` bytes that ended at ``now``.

        Time in which nothing was done is not saved up: a burst after it would be felt.
        """
        self._free_at = max(self._free_at, now) + size / self._rate
        return self._free_at - now
