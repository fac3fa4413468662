"""Where the time comes from: the caller's clocks, so that a test can turn them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cache_server.core.recency import Moment


@dataclass(frozen=True, slots=True)
class Clocks:
    """Three clocks, each for what it is good at."""

    now: Callable[[], datetime]  # UTC; shown to people; anybody may set it
    monotonic: Callable[[], float]  # seconds; deadlines and speeds
    boottime: Callable[[], float]  # seconds since the machine's start, suspension included

    def moment(self) -> Moment:
        """Return this instant."""
        return Moment(self.now(), self.boottime())


def system_clocks() -> Clocks:
    """Return the clocks of this machine."""
    return Clocks(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        boottime=lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    )
