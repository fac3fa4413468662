"""How slowly an origin may send before it counts as silent. Pure: the caller brings the times.

A time limit per read is none: one byte each few seconds would hold a connection, and a fill with
it, for years. Only the time spent waiting for the origin counts, since a fill that waits for its
own disk or for its turn reads slowly too.
"""

from cache_protocol.errors import OriginUnavailableError

# 32 connections share 1 MB/s at this rate; the worst line that a fill could ever end on. The
# default of git's http.lowSpeedLimit, in its documentation, and of curl's --speed-limit are alike.
LEAST = 1000.0  # bytes per second of one connection
WINDOW = 30.0  # seconds of waiting over which that is the average


class DripError(OriginUnavailableError):
    """The origin sends, but so slowly that this would never end."""


class Drip:
    """Watches one stream."""

    def __init__(self) -> None:
        self._waited = 0.0  # seconds, in this window
        self._came = 0  # bytes, in this window

    def came(self, size: int, waited: float, what: str) -> None:
        """Take note of a read of ``size`` bytes that took ``waited`` seconds.

        Raises:
            DripError: a window of waiting brought less than it must; ``what`` is for the message.
        """
        self._waited += waited
        self._came += size
        if self._waited < WINDOW:
            return
        if self._came < LEAST * self._waited:
            raise DripError(
                f"{what}: {self._came} bytes came in {self._waited:.0f} s, and {LEAST:.0f} a "
                "second is the least; the connection is given up"
            )
        self._waited, self._came = 0.0, 0
