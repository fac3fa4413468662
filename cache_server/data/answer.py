"""From a request and a size to status, span and head. Pure: the caller brings file and clock.

The order of the conditions is that of RFC 9110, section 13.2.2: If-Match, If-None-Match, then
Range with If-Range.
"""

import json
import re
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from cache_protocol.errors import (
    CacheError,
    GenerationGoneError,
    MalformedError,
    to_problem,
)
from cache_protocol.ranges import Span, UnsatisfiableRangeError, content_range, parse_range
from cache_server.core.coming_back import wish_of
from cache_server.data.request import RefusedError, Request

_TAG = re.compile(r'(?:W/)?"[^"]*"')  # RFC 9110, 8.8.3
_REASONS = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a resource goes into an answer."""

    status: int  # 200, 206 or 304
    span: Span  # bytes that the head announces; empty for 304
    size: int  # bytes of the whole resource


def select(request: Request, size: int, etag: str) -> Selection:
    """Return what ``request`` wants of a resource of ``size`` bytes with strong tag ``etag``.

    Raises:
        RefusedError: 412 a condition does not hold, 416 the range lies outside.
    """
    fields = request.fields
    condition = fields.get("if-match")
    if condition is not None and condition != "*" and etag not in _TAG.findall(condition):
        raise RefusedError(412, MalformedError(f"the resource is {etag}"), {"ETag": etag})
    condition = fields.get("if-none-match")
    if condition is not None and _matches_weakly(condition, etag):
        return Selection(304, Span(0, 0), size)
    span = _select_range(request, size, etag)
    return Selection(200, Span(0, size), size) if span is None else Selection(206, span, size)


def _matches_weakly(condition: str, etag: str) -> bool:
    return condition == "*" or any(
        tag.removeprefix("W/") == etag for tag in _TAG.findall(condition)
    )


def _select_range(request: Request, size: int, etag: str) -> Span | None:
    # RFC 9110, 14.2: Range is defined for GET alone; 13.1.5: If-Range compares strongly.
    if request.method != "GET" or request.fields.get("if-range", etag) != etag:
        return None
    try:
        return parse_range(request.fields.get("range"), size)
    except UnsatisfiableRangeError as error:
        fields = {"Content-Range": f"bytes */{size}"}
        raise RefusedError(416, MalformedError(str(error)), fields) from error


def content_head(selection: Selection, etag: str, *, now: float, keep_alive: bool) -> bytes:
    """Return the head of an answer with content, or of a 304. ``now`` is in unix seconds."""
    lines = _opening(selection.status, now, keep_alive=keep_alive)
    lines += f"ETag: {etag}\r\nAccept-Ranges: bytes\r\n"
    if selection.status != 304:
        lines += (
            f"Content-Type: application/octet-stream\r\nContent-Length: {selection.span.size}\r\n"
        )
    if selection.status == 206:
        lines += f"Content-Range: {content_range(selection.span, selection.size)}\r\n"
    return (lines + "\r\n").encode("latin-1")


def problem_answer(
    refused: RefusedError, *, now: float, keep_alive: bool, head_only: bool = False
) -> bytes:
    """Return a whole answer that says why there is no content (RFC 9457)."""
    body = json.dumps(to_problem(refused.error, refused.status)).encode()
    lines = _opening(refused.status, now, keep_alive=keep_alive)
    lines += f"Content-Type: application/problem+json\r\nContent-Length: {len(body)}\r\n"
    lines += "".join(f"{name}: {value}\r\n" for name, value in refused.fields.items())
    return (lines + "\r\n").encode("latin-1") + (b"" if head_only else body)


def failed(error: CacheError) -> RefusedError:
    """Return the answer to a reader whose bytes will not come, known before the first of them."""
    if isinstance(error, GenerationGoneError):
        return RefusedError(410, error)
    wish = wish_of(error)
    return RefusedError(503, error, {} if wish is None else {"Retry-After": str(wish)})


def _opening(status: int, now: float, *, keep_alive: bool) -> str:
    # HTTP/1.0 clients need the keep-alive said, HTTP/1.1 clients do not mind it.
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nDate: {http_date(now)}\r\n"
        f"Connection: {'keep-alive' if keep_alive else 'close'}\r\n"
    )


def http_date(now: float) -> str:
    """Return unix seconds as the Date field says them."""
    return _date(int(now))


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
