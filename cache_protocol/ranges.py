"""Half-open spans of bytes, and the one form of HTTP ``Range`` that both planes speak.

Source of the header rules: RFC 9110, section 14. Several ranges in one request are allowed to
be ignored by a server (14.2); this one answers them with the whole file.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# Twenty digits hold any 64-bit number, which some clients send for "to the end", and keep int()
# away from hostile lengths. The unit's name is case-insensitive (14.1).
_RANGE = re.compile(r"bytes=(\d{0,20})-(\d{0,20})", re.ASCII | re.IGNORECASE)


class Span(NamedTuple):
    """The bytes from ``begin`` up to, not including, ``end``."""

    begin: int
    end: int

    @property
    def size(self) -> int:
        """How many bytes the span holds."""
        return self.end - self.begin


class UnsatisfiableRangeError(ValueError):
    """The range lies outside the file: status 416."""


def cut(span: Span, size: int) -> Iterator[Span]:
    """Yield consecutive pieces of ``span`` of at most ``size`` bytes."""
    for begin in range(span.begin, span.end, size):
        yield Span(begin, min(begin + size, span.end))


def parse_range(header: str | None, size: int) -> Span | None:
    """Return the span that ``header`` asks of a file of ``size`` bytes; None means all of it.

    A header of another unit, of several ranges or of no sense is ignored, as RFC 9110 wants; so
    is "the last N bytes" of an empty file, which is satisfiable (14.1.2) but fits no 206.

    Raises:
        UnsatisfiableRangeError: well-formed, but no byte of the file is in it.
    """
    match = _RANGE.fullmatch(header.strip(" \t")) if header else None
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.group(1), match.group(2)
    if first == "":  # the last N bytes
        if size == 0 < int(last):
            return None
        span = Span(max(0, size - int(last)), size)
    else:
        span = Span(int(first), min(int(last) + 1, size) if last else size)
        if last and int(last) < int(first):
            return None
    if span.begin >= span.end:
        raise UnsatisfiableRangeError(f"{header} asks for nothing of {size} bytes")
    return span


def range_header(span: Span) -> str:
    """Return the ``Range`` value that asks for ``span``, which must not be empty."""
    return f"bytes={span.begin}-{span.end - 1}"


def content_range(span: Span, size: int) -> str:
    """Return the ``Content-Range`` value of a 206."""
    return f"bytes {span.begin}-{span.end - 1}/{size}"
