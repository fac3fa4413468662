"""The words by which people see how a pipeline stands: the same in a browser and on a terminal.

Pure. Whoever shows them adds colour, and what there is room for.
"""

from datetime import UTC, datetime

PINNED = "pinned"


def filling(filled: int, size: int | None) -> str:
    """Say that it is being filled, and with how much of ``size`` bytes, None: not known yet."""
    return f"filling{_share(filled, size)}"


def refreshing(filled: int, size: int | None) -> str:
    """Say that a newer generation is being filled beside the one that is there."""
    return f"refreshing{_share(filled, size)}"


def hot(until: str) -> str:
    """Say how long the policy keeps it, ``until`` a moment."""
    return f"hot until {until}"


def moment(at: datetime) -> str:
    """Return an instant as people read it, in UTC: ``21 Nov 07:15``."""
    at = at.astimezone(UTC)
    return f"{at.day} {at:%b %H:%M}"


def _share(filled: int, size: int | None) -> str:
    """Return how much is there, rounded down: 100 % is never said of what is not whole."""
    return f" {100 * filled // size} %" if size else ""
