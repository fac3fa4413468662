"""What an HTTP origin's status and headers mean to us. Pure: values in, values or errors out."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from cache_protocol.errors import (
    OriginChangedError,
    OriginDeniedError,
    OriginError,
    OriginNotFoundError,
    OriginUnavailableError,
)
from cache_protocol.names import shown
from cache_protocol.ranges import Span

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_MAX_REASON = 300  # characters of the origin's own words


class CaseBlind(dict[str, str]):
    """Header fields, looked up whatever the case; of a repeated one the last counts."""

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        super().__init__((name.lower(), value) for name, value in fields)

    def get(self, name: str, default: Any = None, /) -> Any:  # noqa: ANN401 - as dict has it
        """Return the field's value."""
        return super().get(name.lower(), default)


def refusal(status: int, headers: Mapping[str, str], what: str) -> OriginError:
    """Return the error that ``status`` stands for, with the origin's own reason.

    ``headers`` are case-blind; ``what`` says, for the message, whose bytes were asked for.
    """
    detail = f"{what}: {_reason(headers)}HTTP {status}"
    match status:
        case 404 | 410:
            return OriginNotFoundError(detail)
        case 412 | 416:  # If-Match failed; the file is shorter than it was announced
            return OriginChangedError(detail)
        case 408 | 425 | 429:
            return OriginUnavailableError(detail, retry_after=_wish(headers))
        case _ if 400 <= status < 500:
            return OriginDeniedError(detail)
        case _:
            return OriginUnavailableError(detail, retry_after=_wish(headers))


def _reason(headers: Mapping[str, str]) -> str:
    # Hugging Face: the reason is in X-Error-Message, its stable name in X-Error-Code.
    said = [headers.get("X-Error-Message", ""), headers.get("X-Error-Code", "")]
    words = " ".join("".join(c for c in s if c.isprintable())[:_MAX_REASON] for s in said if s)
    return f"{words}, " if words else ""


def _wish(headers: Mapping[str, str]) -> float | None:
    return retry_after(headers.get("Retry-After"), datetime.now(UTC))


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a ``Retry-After``: a count or a date (RFC 9110, 10.2.3)."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])  # 30 years are enough for any wish
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (then - now).total_seconds())


def check_encoding(headers: Mapping[str, str], what: str) -> None:
    """Refuse an encoded body, which nobody asked for: nothing here is ever decompressed.

    Raises:
        OriginUnavailableError: it is encoded.
    """
    encoding = headers.get("Content-Encoding") or "identity"
    if encoding.strip().lower() != "identity":
        raise OriginUnavailableError(f"{what} came encoded as {shown(encoding)}")


def place_in_body(status: int, headers: Mapping[str, str], span: Span, size: int, what: str) -> int:
    """Return how many bytes of the body come before ``span`` of a file of ``size`` bytes.

    0 for a 206. A 200 is an origin that ignored the range and sends everything from the start,
    except that some (Ceph radosgw 16) send the part under a 200, with its Content-Range.

    Raises:
        OriginUnavailableError: the body is encoded, or is another part than was asked for.
        OriginChangedError: the file has another size now.
        OriginError: ``status`` is neither 200 nor 206; see ``refusal``.
    """
    if status not in (200, 206):
        raise refusal(status, headers, what)
    check_encoding(headers, what)
    length = headers.get("Content-Length")
    if status == 200 and (length is None or length == str(size)):
        return span.begin
    part = headers.get("Content-Range")
    if part is None and status == 200:
        raise OriginChangedError(f"{what} has {shown(length or '')} bytes now, not {size}")
    _check_part(part or "", span, size, what)
    return 0


def _check_part(part: str, span: Span, size: int, what: str) -> None:
    match = _CONTENT_RANGE.fullmatch(part.strip())
    if match is None or (int(match[1]), int(match[2]) + 1) != span:
        raise OriginUnavailableError(
            f"{what}: {shown(part)} came where bytes {span.begin}-{span.end - 1} were asked for"
        )
    if match[3] != "*" and int(match[3]) != size:
        raise OriginChangedError(f"{what} has {match[3]} bytes now, not {size}")
