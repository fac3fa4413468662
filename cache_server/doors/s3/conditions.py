"""Which bytes of an object a request wants, and whether it still wants them. Pure.

The order of the conditions is that of RFC 9110, section 13.2.2, which S3 follows. Three things are
S3's own: a HEAD has ranges too, a tag may come without its quotes, and ``partNumber`` is another
way to ask for a range; an object here has one part, which is all of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cache_protocol.ranges import Span, UnsatisfiableRangeError, parse_range
from cache_server.doors.s3.refusals import Code, S3Error

MAX_PARTS = 10_000  # S3's

_TAG = re.compile(r'(?:W/)?"[^"]*"|[^\s",]+')  # RFC 9110, 8.8.3; and bare, as some clients send it


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of an object goes into a reply."""

    status: int  # 200, 206 or 304
    span: Span  # empty for 304


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known of an object before its bytes."""

    size: int  # bytes
    etag: str  # strong, quotes included
    modified: datetime  # UTC, whole seconds


def wanted(fields: Mapping[str, str], part: str | None, shape: Shape) -> Wanted:
    """Return what a GET or HEAD with header ``fields`` and ``partNumber`` wants of ``shape``.

    Raises:
        S3Error: PreconditionFailed, InvalidRange, InvalidPartNumber or InvalidArgument.
    """
    _check_match(fields, shape)
    if _is_known(fields, shape):
        return Wanted(304, Span(0, 0))
    span = _part(part, fields, shape) if part is not None else _range(fields, shape)
    return Wanted(200, Span(0, shape.size)) if span is None else Wanted(206, span)


def _check_match(fields: Mapping[str, str], shape: Shape) -> None:
    if (tags := fields.get("if-match")) is not None:
        if not _has(tags, shape.etag, weakly=False):
            raise _failed("If-Match")
    elif (since := _instant(fields, "if-unmodified-since")) and shape.modified > since:
        raise _failed("If-Unmodified-Since")


def _is_known(fields: Mapping[str, str], shape: Shape) -> bool:
    if (tags := fields.get("if-none-match")) is not None:
        return _has(tags, shape.etag, weakly=True)
    since = _instant(fields, "if-modified-since")
    return since is not None and shape.modified <= since


def _has(tags: str, etag: str, *, weakly: bool) -> bool:
    if tags.strip() == "*":
        return True
    found = _TAG.findall(tags)
    if weakly:
        found = [tag.removeprefix("W/") for tag in found]
    return etag in found or etag.strip('"') in found


def _range(fields: Mapping[str, str], shape: Shape) -> Span | None:
    text = fields.get("range")
    if text is None or not _is_current(fields, shape):
        return None
    try:
        return parse_range(text, shape.size)
    except UnsatisfiableRangeError as error:
        raise S3Error(
            Code.INVALID_RANGE,
            "The requested range is not satisfiable",
            details={"RangeRequested": text[:200], "ActualObjectSize": str(shape.size)},
            fields={"Content-Range": f"bytes */{shape.size}"},
        ) from error


def _is_current(fields: Mapping[str, str], shape: Shape) -> bool:
    """Whether what a client holds already is of this object, as far as it says (If-Range)."""
    condition = fields.get("if-range")
    if condition is None or condition == shape.etag:
        return True
    return '"' not in condition and _instant(fields, "if-range") == shape.modified


def _part(text: str, fields: Mapping[str, str], shape: Shape) -> Span | None:
    if "range" in fields:
        raise S3Error(Code.INVALID_REQUEST, "a range and a partNumber: ask for one of them")
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or not 1 <= int(text) <= MAX_PARTS:
        raise S3Error(
            Code.INVALID_ARGUMENT,
            f"Part number must be an integer between 1 and {MAX_PARTS}, inclusive",
            details={"ArgumentName": "partNumber", "ArgumentValue": text[:200]},
        )
    if int(text) > 1:
        raise S3Error(
            Code.INVALID_PART_NUMBER,
            "The requested partnumber is not satisfiable: objects here have one part",
            details={"PartNumberRequested": text, "ActualPartCount": "1"},
        )
    return Span(0, shape.size) if shape.size else None  # no 206 can hold nothing


def _failed(condition: str) -> S3Error:
    return S3Error(
        Code.PRECONDITION_FAILED,
        "At least one of the pre-conditions you specified did not hold",
        details={"Condition": condition},
    )


def _instant(fields: Mapping[str, str], name: str) -> datetime | None:
    """Return a date of ``fields``; None for none, and for one that is not (RFC 9110, 13.1.3)."""
    try:
        return parsedate_to_datetime(fields[name]).astimezone(UTC)
    except (KeyError, ValueError, OverflowError):
        return None
