"""How sizes and spans of time are written in settings, and shown to people."""

import re
from datetime import timedelta
from fractions import Fraction

from cache_protocol.errors import MalformedError

_SIZE = re.compile(r"\s*(\d{1,18}(?:\.\d{1,9})?)\s*([kKMGTPE]?)(i?)[bB]?\s*", re.ASCII)
_POWERS = " KMGTPE"
_DURATION = re.compile(
    r"P(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,6})?)S)?)?",
    re.ASCII,
)
MAX_DURATION = timedelta(days=36525)  # a century: ``now - duration`` must stay a date


def parse_size(text: str) -> int:
    """Return bytes from ``"3.5TiB"``, ``"500GB"``, ``"8MiB"`` or ``"1024"``.

    ``i`` makes the unit a power of 1024, otherwise it is a power of 1000 (IEC 80000-13).

    Raises:
        MalformedError: not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None or (match.group(3) and not match.group(2)):
        raise MalformedError(f"{text!r} is not a size; write '500GB', '3.5TiB' or plain bytes")
    base = 1024 if match.group(3) else 1000
    # Fraction, since float loses bytes above 2**53.
    return int(Fraction(match.group(1)) * base ** _POWERS.index(match.group(2).upper() or " "))


def parse_duration(text: str) -> timedelta:
    """Return the time that an ISO 8601 duration of days and less speaks of, e.g. ``PT48H``.

    Raises:
        MalformedError: not such a duration, or above a century.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise MalformedError(f"{text!r} is not an ISO 8601 duration; write 'PT48H' or 'P2D'")
    days, hours, minutes, seconds = (float(g or 0) for g in match.groups())
    # Compared first: timedelta itself overflows above 999 999 999 days.
    if days + hours / 24 + minutes / 1440 + seconds / 86400 > MAX_DURATION.days:
        raise MalformedError(f"{text!r} is above {MAX_DURATION.days} days")
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def show_size(size: float) -> str:
    """Return ``size`` bytes for people, in powers of 1000 as disks and links are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(size) < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit returns")
