"""Write requests to the data plane, and read exactly the answers that it gives.

Pure: bytes in, values out. The parser takes HTTP/1.1 with a Content-Length and nothing else; an
answer of any other form is a reason to drop the connection, never to guess where the next
answer begins.
"""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from cache_protocol.errors import (
    BusyError,
    CacheError,
    GenerationGoneError,
    Retry,
    TicketError,
    from_problem,
)
from cache_protocol.ranges import Span, content_range, range_header
from cache_protocol.request_ids import HEADER
from replica_agent.core.urls import Target

MAX_HEAD = 16 * 2**10  # bytes of status line and headers; ours have about 300
MAX_PROBLEM = 64 * 2**10  # bytes of a problem document
HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2})(?: [ -~]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")
_COUNT = re.compile(r"[0-9]{1,18}")


class LostError(Exception):
    """The connection broke, stalled, or brought something else than an answer of ours."""


class UntrustedError(LostError):
    """The node shows a certificate that is not believed; it will show the same next time."""


class RefusedError(Exception):
    """The node answered, and the answer is not what was asked for."""

    def __init__(self, status: int, error: CacheError, retry: Retry, wish: float) -> None:
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error
        self.retry = retry  # the node's own word
        self.wish = wish  # seconds of Retry-After, 0 without


class Head(NamedTuple):
    """Status and headers of one answer."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    length: int  # bytes of the body


def request(
    target: Target,
    span: Span | None = None,
    *,
    revalidate: bool = False,
    request_id: str | None = None,
) -> bytes:
    """Return a GET of ``target``, or of ``span`` of it.

    ``revalidate`` asks the node to check its own copy before it sends it; ``request_id`` is for
    the node's log.
    """
    lines = [f"GET {target.path} HTTP/1.1", f"Host: {target.endpoint}"]
    if request_id is not None:
        lines.append(f"{HEADER}: {request_id}")
    if span is not None:
        lines.append(f"Range: {range_header(span)}")
    if revalidate:
        lines.append("Cache-Control: no-cache")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")


def parse_head(head: bytes) -> Head:
    """Return what ``head`` says: everything up to, not including, the empty line.

    Raises:
        LostError: not HTTP/1.1, a header twice, no length, or a body in another coding.
    """
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    fields = [_FIELD.fullmatch(line) for line in lines]
    if status is None or None in fields:
        raise LostError("the answer is not HTTP/1.1")
    headers = {f[1].decode().lower(): f[2].decode("latin-1") for f in fields if f is not None}
    if len(headers) != len(fields):
        raise LostError("the answer has a header twice")
    if "transfer-encoding" in headers or headers.get("content-encoding", "identity") != "identity":
        raise LostError("the answer is in a coding that was not asked for")
    length = headers.get("content-length", "")
    if not _COUNT.fullmatch(length):
        raise LostError("the answer does not say its length")
    return Head(int(status[1]), headers, int(length))


def check_part(head: Head, span: Span, size: int) -> None:
    """Return if ``head`` announces exactly ``span`` of ``size`` bytes; LostError otherwise."""
    if head.status != 206:
        raise LostError(f"status {head.status} where 206 answers a range")
    given = head.headers.get("content-range", "")
    if given != content_range(span, size) or head.length != span.size:
        raise LostError(
            f"{head.length} bytes as {given[:80]!r} where {content_range(span, size)!r} was asked"
        )


def check_whole(head: Head, size: int) -> None:
    """Return if ``head`` announces a whole body of ``size`` bytes; LostError otherwise."""
    if head.status != 200 or head.length != size:
        raise LostError(f"status {head.status} with {head.length} bytes where {size} were asked")


def refusal(head: Head, body: bytes) -> RefusedError:
    """Return what an answer of status 400 and above says, problem document or not."""
    try:
        problem = json.loads(body.decode())
        error = from_problem(problem)
        retry = Retry(problem.get("retry", error.retry))
    except (ValueError, AttributeError, RecursionError):  # not ours: the status has to do
        error = _by_status(head.status)
        retry = error.retry
    wish = head.headers.get("retry-after", "")
    return RefusedError(head.status, error, retry, float(wish) if _COUNT.fullmatch(wish) else 0.0)


def _by_status(status: int) -> CacheError:
    detail = f"the node answered {status} without a reason"
    match status:
        case 403:
            return TicketError(detail)
        case 410:
            return GenerationGoneError(detail)
        case 429 | 503:
            return BusyError(detail)
        case _:
            return CacheError(detail)
