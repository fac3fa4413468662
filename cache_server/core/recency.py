"""How long ago something was asked for, whatever anybody does to the wall clock.

While a node runs, elapsed time is the boot clock's: seconds since the machine was started,
suspension included, which nobody sets. An instant that outlives the process is written down by
the wall clock, because a machine that was started anew has nothing else; it is turned into the
boot clock's seconds once, when it is read.

    touch ──> (wall, boot seconds) ──written──> wall ──restart──> boot seconds again

Pure: the caller brings both clocks.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

STEP = timedelta(seconds=2)  # an hour of drift that NTP corrects by slewing is far below


class Moment(NamedTuple):
    """One instant, as both clocks tell it. A tuple: a node makes 10 000 a second."""

    wall: datetime  # UTC
    seconds: float  # on the boot clock; negative for an instant before the machine's start


def recall(wall: datetime, now: Moment) -> Moment:
    """Return the moment that an earlier process wrote down as ``wall``.

    A stamp from the future counts as now: a clock was wrong, then or now, and what is kept for
    too long costs less than what is evicted although it is hot.
    """
    age = max(now.wall - wall, timedelta())
    return Moment(now.wall - age, now.seconds - age.total_seconds())


def stepped(before: Moment, now: Moment) -> bool:
    """Whether somebody set the wall clock between two moments of one process."""
    passed = timedelta(seconds=now.seconds - before.seconds)
    return abs(now.wall - before.wall - passed) > STEP


def restate(moment: Moment, now: Moment) -> Moment:
    """Return ``moment`` by the wall clock as it stands now; elapsed time stays."""
    return Moment(now.wall - timedelta(seconds=now.seconds - moment.seconds), moment.seconds)


def is_hot(asked: Moment | None, now: float, hot_window: timedelta) -> bool:
    """Whether the last request is at most ``hot_window`` ago; ``now`` is of the boot clock."""
    return asked is not None and now - asked.seconds <= hot_window.total_seconds()
