"""boto3's HTTP: to addresses that were judged, and with answers that do not get out of hand.

boto3 has a session of its own for everything, listings too; this one takes its place before each
request is sent. It is botocore's, with three things changed: where it connects to, how long
headers may take, and how a body is read.
"""

import socket
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.exceptions import HTTPClientError
from botocore.httpsession import URLLib3Session
from urllib3.exceptions import HTTPError, IncompleteRead, NewConnectionError

from cache_protocol.errors import CacheError, MalformedError, OriginUnavailableError
from cache_protocol.names import shown
from cache_server.core.reach import Reach
from cache_server.origins.answers import check_encoding
from cache_server.origins.connections import PromptResponse
from cache_server.origins.dialling import check_literal, dial
from cache_server.origins.question import whole
from cache_server.origins.redirects import place

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from types_boto3_s3.client import S3Client
    from urllib3.response import BaseHTTPResponse

MAX_TAGS = 2**18  # a page of 1000 keys has 20 000; Python makes some 100 bytes of each
_PIECE = 2**16  # bytes per read of an answer that is read whole


def install(client: "S3Client", session: "JudgedSession") -> None:
    """Have ``client`` send all its requests through ``session``."""

    def send(request: "AWSPreparedRequest", **_: Any) -> "AWSResponse":  # noqa: ANN401
        return session.send(request)

    # What a handler of this event returns is taken for the answer; the stubs do not know that.
    client.meta.events.register("before-send.s3", send)  # type: ignore[arg-type]


class JudgedSession:
    """One session of botocore, bounded."""

    def __init__(self, reach: Reach, proxies: Mapping[str, str], **options: Any) -> None:  # noqa: ANN401 - botocore's own
        """Args: reach: which addresses may be connected to, those of ``proxies`` among them."""
        self._reach = reach
        self._proxied = bool(proxies)
        inner: Any = URLLib3Session(proxies=proxies, **options)
        inner._pool_classes_by_scheme.update(_pools(reach))  # noqa: SLF001 - it has no other door
        self._session: URLLib3Session = inner

    def send(self, request: "AWSPreparedRequest") -> "AWSResponse":
        """Send ``request`` once; its body is read whole here, but for the bytes of an object.

        Raises:
            MalformedError: the host is at an address that an origin may not lead to, or the
                answer is too large.
            OriginUnavailableError: the answer takes too long, breaks off, or is encoded.
        """
        if self._proxied:  # which looks names up itself; addresses are ours to judge
            check_literal(self._reach, urlsplit(request.url).hostname or "")
        streams, request.stream_output = request.stream_output, True  # we read it
        try:
            answer = self._session.send(request)
        except HTTPClientError as error:
            if isinstance(error.__context__, CacheError):
                raise error.__context__ from None
            raise
        raw: BaseHTTPResponse = answer.raw
        if streams and answer.status_code < 300:
            answer.raw = _Prompt(raw)
        else:
            answer.raw = _Whole(_read(raw, place(request.url)))
        return answer

    def close(self) -> None:
        """Give back all connections."""
        self._session.close()


def _read(raw: "BaseHTTPResponse", what: str) -> bytes:
    try:
        check_encoding(raw.headers, what)
        body = whole(_pieces(raw), what)
    except HTTPError as error:
        raw.close()
        raise OriginUnavailableError(f"{what} broke off its answer: {shown(str(error))}") from error
    except BaseException:
        raw.close()
        raise
    raw.release_conn()
    _check_tags(body, what)
    return body


def _pieces(raw: "BaseHTTPResponse") -> Iterator[bytes]:
    read = 0
    while piece := raw.read1(_PIECE):
        read += len(piece)
        yield piece
    if raw.length_remaining:  # botocore has urllib3 take that for the end
        raise IncompleteRead(read, raw.length_remaining)


def _check_tags(document: bytes, what: str) -> None:
    """Refuse XML that would be much more as objects than it is as text."""
    tags = document.count(b"<")
    if tags > MAX_TAGS or b"<!DOCTYPE" in document:
        raise MalformedError(
            f"{what}: {len(document)} bytes of XML with {tags} tags, above {MAX_TAGS}, or with "
            "definitions of its own"
        )


class _Whole:
    """A body that has been read, as ``AWSResponse.content`` wants it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body


class _Prompt:
    """A body that gives what is there: urllib3 itself waits until all that was asked for came."""

    def __init__(self, raw: "BaseHTTPResponse") -> None:
        self._raw = raw

    def readinto(self, into: memoryview) -> int:
        data = self._raw.read1(len(into))
        into[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._raw.close()


def _pools(reach: Reach) -> dict[str, type]:
    """Return pools by scheme whose connections connect to addresses that ``reach`` permits."""

    def connect(connection: Any) -> socket.socket:  # noqa: ANN401 - of one class or the other
        try:
            return dial(reach, connection._dns_host, connection.port, connection.timeout)  # noqa: SLF001
        except OSError as error:
            raise NewConnectionError(connection, str(error)) from error

    # urllib3's own place to choose the address under a name, and http.client's for its answers.
    changed = {"_new_conn": connect, "response_class": PromptResponse}
    plain = type("Plain", (AWSHTTPConnection,), changed)
    secure = type("Secure", (AWSHTTPSConnection,), changed)
    return {
        "http": type("PlainPool", (AWSHTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("SecurePool", (AWSHTTPSConnectionPool,), {"ConnectionCls": secure}),
    }
