"""One span of one URL over HTTP, straight into the caller's memory.

Redirects are followed here, because a library would carry our token to wherever they lead, and
because the caller wants to know where the bytes really are. No retries: the fill decides.
"""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from cache_protocol.errors import OriginUnavailableError
from cache_protocol.ranges import Span, range_header
from cache_server.core.tracing import trace_headers
from cache_server.origins import redirects
from cache_server.origins.answers import place_in_body
from cache_server.origins.connections import FAILURES, Connections, Exchange, broken
from cache_server.origins.spans import SpanStream


class RangedClient:
    """GETs of spans over a pool of connections. Safe for threads."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self.stall_timeout = connections.stall_timeout  # seconds

    def get(
        self,
        url: str,
        span: Span,
        *,
        headers: Mapping[str, str] | None = None,
        private: Mapping[str, str] | None = None,
    ) -> "Answer":
        """Ask ``url`` for ``span`` and return the first answer that is no redirect.

        Args:
            url: where to ask.
            span: which bytes.
            headers: sent to whoever is asked, such as If-Match.
            private: sent to the origin of ``url`` alone, such as Authorization.

        Raises:
            OriginUnavailableError: no answer, not HTTP, or too many redirects.
            MalformedError: a redirect that must not be followed.
        """
        common = {"Range": range_header(span), "Accept-Encoding": "identity", **trace_headers()}
        common |= headers or {}
        target, first = url, None
        for _ in range(1 + redirects.MAX_REDIRECTS):
            secret = private if redirects.same_origin(url, target) else None
            exchange = self._connections.get(target, {**common, **(secret or {})})
            first = first or exchange
            if exchange.status not in redirects.STATUSES:
                return Answer(target, exchange, first.headers)
            with exchange:
                target = redirects.next_url(target, exchange.headers.get("Location"))
        raise OriginUnavailableError(
            f"{redirects.place(url)} redirects more than {redirects.MAX_REDIRECTS} times"
        )

    def close(self) -> None:
        """Give back all connections."""
        self._connections.close()


class Answer:
    """An answer whose body has not been read; ``close`` it, or go on with ``download``."""

    def __init__(self, url: str, exchange: Exchange, first_headers: Mapping[str, str]) -> None:
        self.url = url  # the one that answered, after all redirects
        self.status = exchange.status
        self.headers = exchange.headers
        self.first_headers = first_headers  # of the first redirect, or of this answer
        self._exchange = exchange

    def download(self, span: Span, size: int, what: str) -> "Download":
        """Return the bytes of ``span`` of a file of ``size`` bytes.

        Raises what ``answers.place_in_body`` raises.
        """
        try:
            skip = place_in_body(self.status, self.headers, span, size, what)
        except BaseException:
            self.close()
            raise
        return Download(self._exchange, span, skip, what)

    def close(self) -> None:
        """Give up the body."""
        self._exchange.end()


class Download:
    """A ``ports.Stream`` that holds its connection until the end of the ``with``."""

    def __init__(self, exchange: Exchange, span: Span, skip: int, what: str) -> None:
        self._exchange = exchange
        self._what = what
        self._stream = SpanStream(self._read, span.size, skip=skip, what=what)

    def readinto(self, into: memoryview, /) -> int:
        """Implement ``ports.Stream``."""
        return self._stream.readinto(into)

    def _read(self, into: memoryview) -> int:
        try:
            return self._exchange.readinto(into)
        except FAILURES as error:
            raise broken(self._what, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._exchange.end()
