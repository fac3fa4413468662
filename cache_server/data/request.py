r"""From bytes to a request. Pure: no socket, no clock; the same bytes give the same result.

    GET /files/… ?expires=… HTTP/1.1\r\n        request line
    Host: node:8081\r\n                          fields
    Range: bytes=0-8388607\r\n
    \r\n                                         end of the head; a body is never accepted

Two readers that disagree on where a message ends can be played against each other (request
smuggling, RFC 9112 section 11.2). So nothing is repaired here: a line ends in CRLF and in nothing
else, a field name touches its colon, a fold, a second Host or any sign of a body is an error, and
every error closes the connection.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cache_protocol.errors import CacheError, MalformedError

MAX_HEAD = 16 * 2**10  # bytes; a signed URL of the longest path takes 4 KiB, nginx allows 32 KiB

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, 5.6.2
_LINE = re.compile(rb"(%b) ([\x21-\x7e]+) HTTP/([0-9])\.([0-9])" % _TOKEN)  # RFC 9112, 3
_FIELDS = re.compile(rb"(?:\r\n%b:[\t\x20-\x7e\x80-\xff]*+)*+" % _TOKEN)  # RFC 9110, 5.5
_TARGET = re.compile(r"(?:https?://[^/?#]+)?(/[^?#]*)(?:\?([^#]*))?", re.IGNORECASE)


class RefusedError(Exception):
    """This request is answered with a status of its own and no content."""

    def __init__(
        self, status: int, error: CacheError, fields: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error
        self.fields = fields or {}  # further header fields of the answer


@dataclass(frozen=True, slots=True)
class Request:
    """One GET or HEAD."""

    method: str
    path: str  # as it stands in the URL, percent signs and all: tickets are over these very bytes
    query: str
    fields: Mapping[str, str]  # names in lower case; a repeated field is joined by commas
    keep_alive: bool  # the peer wants to go on after the answer


def parse_request(data: bytes | bytearray) -> tuple[Request, int] | None:
    """Return the first request in ``data`` and how many bytes it takes; None if more must come.

    Raises:
        RefusedError: these bytes cannot become a request, whatever follows them. The bytes after
            it have no meaning: the connection must be closed.
    """
    begin = _after_empty_lines(data)
    end = data.find(b"\r\n\r\n", begin, MAX_HEAD)
    head = bytes(data[begin : end if end >= 0 else MAX_HEAD])
    if head.count(b"\n") != head.count(b"\r\n"):
        raise _malformed("a line does not end in CRLF")
    if end >= 0:
        return _parse_head(head), end + 4
    if len(data) >= MAX_HEAD:
        status = 431 if b"\n" in head else 414
        raise _malformed(f"the request head is above {MAX_HEAD} bytes", status)
    return None


def _after_empty_lines(data: bytes | bytearray) -> int:
    # Some clients end a request with one CRLF too many: RFC 9112, 2.2.
    begin = 0
    while begin < MAX_HEAD and data.startswith(b"\r\n", begin):
        begin += 2
    return begin


def _parse_head(head: bytes) -> Request:
    line_end = head.find(b"\r\n")
    line = _LINE.fullmatch(head, 0, line_end if line_end >= 0 else len(head))
    if line is None:
        raise _malformed("the first line is not METHOD TARGET HTTP/x.y")
    method, target, major, minor = (g.decode("ascii") for g in line.groups())
    if major != "1":
        raise _malformed(f"HTTP/{major}.{minor} is not spoken here", 505)
    if method not in ("GET", "HEAD"):
        raise RefusedError(
            405, MalformedError(f"{method[:32]} is not allowed"), {"Allow": "GET, HEAD"}
        )
    path, query = _split_target(target)
    if not _FIELDS.fullmatch(head, line.end()):
        raise _malformed("a header field does not have the form 'name: value'")
    fields = _parse_fields(head[line.end() + 2 :].decode("latin-1"))
    _check_framing(fields, host_needed=minor != "0")
    return Request(method, path, query, fields, _keep_alive(fields, default=minor != "0"))


def _split_target(target: str) -> tuple[str, str]:
    match = _TARGET.fullmatch(target)
    if match is None:
        raise _malformed("the target is neither a path nor an http URL")
    return match.group(1), match.group(2) or ""


def _parse_fields(lines: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines.split("\r\n") if lines else ():
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name in fields:
            if name in ("host", "content-length", "transfer-encoding"):
                raise _malformed(f"{name} stands twice")
            value = f"{fields[name]}, {value}"
        fields[name] = value
    return fields


def _check_framing(fields: Mapping[str, str], *, host_needed: bool) -> None:
    if host_needed and "host" not in fields:
        raise _malformed("an HTTP/1.1 request needs a Host")
    coding = fields.get("transfer-encoding")
    if coding is not None:
        # RFC 9112, 6.1: a coding that is not understood gets a 501.
        raise _malformed("a body is not accepted", 400 if coding.lower() == "chunked" else 501)
    if fields.get("content-length", "0") != "0":
        raise _malformed("a body is not accepted")


def _keep_alive(fields: Mapping[str, str], *, default: bool) -> bool:
    connection = fields.get("connection")
    if connection is None:
        return default
    options = {option.strip().lower() for option in connection.split(",")}
    return "close" not in options and (default or "keep-alive" in options)


def _malformed(detail: str, status: int = 400) -> RefusedError:
    return RefusedError(status, MalformedError(detail))
