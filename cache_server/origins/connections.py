"""Keep-alive HTTP/1.1 connections, with time limits that a slow origin cannot stretch.

One request at a time per connection. A request on a connection that the origin closed while it
was idle is sent once more on a new one; that is HTTP (RFC 9112, 9.3.1), not policy.
"""

import http.client
import io
import socket
import ssl
import time
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping
from threading import Lock
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import SplitResult, unquote, urlsplit

from cache_protocol.errors import OriginUnavailableError
from cache_server.core.reach import Reach
from cache_server.origins.answers import CaseBlind
from cache_server.origins.dialling import check_literal, dial
from cache_server.origins.redirects import place

MAX_IDLE = 16  # connections kept per host; the fill uses 8 per file
_DRAIN = 64 * 2**10  # bytes; a longer rest of a body costs more than a new connection
_DRAIN_TIME = 0.5  # seconds; so does waiting for it
FAILURES = (OSError, http.client.HTTPException, UnicodeError)
_STALE = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


class _Host(NamedTuple):
    scheme: str
    name: str
    port: int | None


class Connections:
    """A small pool per host. Safe for threads."""

    def __init__(
        self,
        *,
        connect_timeout: float,
        stall_timeout: float,
        reach: Reach,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        """Make none yet.

        Args:
            connect_timeout: seconds.
            stall_timeout: seconds.
            reach: which addresses may be connected to.
            proxies: ``https`` (a URL) and ``no`` (a list of hosts).
        """
        self._reach = reach
        self.stall_timeout = stall_timeout
        self._connect_timeout = connect_timeout
        self._proxies = dict(proxies or {})
        self._tls = ssl.create_default_context()
        self._lock = Lock()
        self._idle: defaultdict[_Host, list[http.client.HTTPConnection]] = defaultdict(list)

    def get(self, url: str, headers: Mapping[str, str]) -> "Exchange":
        """Send one GET and return its answer, whose body has not been read.

        Raises:
            OriginUnavailableError: no connection, no answer in time, or not an HTTP answer.
            MalformedError: the URL's host is at an address that an origin may not lead to.
        """
        parts = urlsplit(url)
        host = _Host(parts.scheme, parts.hostname or "", parts.port)
        try:
            connection = self._take(host)
            if connection is not None:
                try:
                    return self._send(connection, host, parts, headers)
                except _STALE:
                    connection.close()
            return self._send(self._connect(host), host, parts, headers)
        except FAILURES as error:
            raise broken(place(url), error) from error

    def close(self) -> None:
        """Close every idle connection."""
        with self._lock:
            idle = [c for many in self._idle.values() for c in many]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        host: _Host,
        parts: SplitResult,
        headers: Mapping[str, str],
    ) -> "Exchange":
        target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        try:
            connection.request("GET", target, headers=dict(headers))
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        return Exchange(response, connection, lambda c: self._give(host, c))

    def _connect(self, host: _Host) -> http.client.HTTPConnection:
        connection = self._of(host)
        connection.response_class = PromptResponse
        connection.connect()
        connection.sock.settimeout(self.stall_timeout)
        return connection

    def _of(self, host: _Host) -> http.client.HTTPConnection:
        if host.scheme == "http":
            plain = http.client.HTTPConnection(host.name, host.port, timeout=self._connect_timeout)
            self._judge(plain)
            return plain
        proxy = self._proxy(host)
        name, port = (proxy.hostname or "", proxy.port or 80) if proxy else (host.name, host.port)
        connection = http.client.HTTPSConnection(
            name, port, timeout=self._connect_timeout, context=self._tls
        )
        if proxy is None:
            self._judge(connection)
            return connection
        # Names are the proxy's to look up and to judge, addresses are ours.
        check_literal(self._reach, host.name)
        connection.set_tunnel(host.name, host.port, headers=_proxy_authorization(proxy))
        return connection

    def _judge(self, connection: http.client.HTTPConnection) -> None:
        """Have ``connection`` connect to addresses alone that may be connected to."""

        def connect(address: tuple[str, int], *_: object) -> socket.socket:
            return dial(self._reach, *address, self._connect_timeout)

        # The one place where http.client lets a caller choose the address under the name.
        connection._create_connection = connect  # type: ignore[attr-defined]  # noqa: SLF001

    def _proxy(self, host: _Host) -> SplitResult | None:
        proxy = self._proxies.get("https")
        if not proxy or _bypasses(host.name, self._proxies.get("no", "")):
            return None
        return urlsplit(proxy if "://" in proxy else f"http://{proxy}")

    def _take(self, host: _Host) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle[host]
            return idle.pop() if idle else None

    def _give(self, host: _Host, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle[host]) < MAX_IDLE:
                self._idle[host].append(connection)
                return
        connection.close()


class Exchange:
    """One answer: status, headers, and a body that the caller reads and then ends."""

    def __init__(
        self,
        response: http.client.HTTPResponse,
        connection: http.client.HTTPConnection,
        give_back: Callable[[http.client.HTTPConnection], None],
    ) -> None:
        self._response = response
        self._connection = connection
        self._give_back = give_back
        self._left = response.length  # bytes of the body; None when only its end tells
        self.status = response.status
        self.headers = CaseBlind(response.getheaders())

    def readinto(self, into: memoryview) -> int:
        """Read what is there, at least one byte; 0 at the end of the body."""
        if self._response.chunked:
            # Not readinto here either: it goes on until ``into`` is full.
            data = self._response.read1(len(into))
            into[: len(data)] = data
            return len(data)
        if self._left is not None:
            into = into[: self._left]
        # Not HTTPResponse.readinto: it waits until all of ``into`` is full, and a stall in the
        # middle would take the bytes before it along.
        count = self._response.fp.readinto1(into) if into else 0
        if self._left is not None:
            self._left -= count
        return count

    def end(self) -> None:
        """Finish with the body: keep the connection if little is left of it, close it if not."""
        try:
            reusable = not self._response.will_close and self._drained()
        except FAILURES:
            reusable = False
        self._response.close()
        if reusable:
            self._give_back(self._connection)
        else:
            self._connection.close()

    def _drained(self) -> bool:
        """Read the rest of the body if it is short and already announced as such."""
        if self._response.chunked or self._left is None or self._left > _DRAIN:
            return False
        scratch, sock = memoryview(bytearray(self._left)), self._connection.sock
        usual, until = sock.gettimeout(), time.monotonic() + _DRAIN_TIME
        while self._left:
            sock.settimeout(max(until - time.monotonic(), 0.001))
            if self.readinto(scratch) == 0 or time.monotonic() >= until:
                return False
        sock.settimeout(usual)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    user = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(user.encode()).decode()}"}


def _bypasses(host: str, no_proxy: str) -> bool:
    """Return whether ``no_proxy``, a list of hosts and domains or ``*``, names ``host``."""
    names = [n.strip().lstrip(".").lower() for n in no_proxy.split(",")]
    return any(n == "*" or (n and f".{host}".endswith(f".{n}")) for n in names)


def broken(what: str, error: BaseException) -> OriginUnavailableError:
    """Return the error for a connection or an answer that failed with ``error``."""
    reason = "it stalled" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return OriginUnavailableError(f"{what}: {reason[:200]}")


class PromptResponse(http.client.HTTPResponse):
    """An answer whose headers must all be there within the stall timeout.

    A socket's timeout starts anew with every byte: an origin that sends one byte of header each
    few seconds would hold the thread for days.
    """

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:  # noqa: ANN401
        super().__init__(sock, *args, **options)
        plain = self.fp
        self._limited = _Deadline(sock, sock.makefile("rb", buffering=0))
        self.fp = io.BufferedReader(self._limited)
        plain.close()

    def begin(self) -> None:
        """Read status and headers, then let the body take its time."""
        super().begin()
        self._limited.lift()


class _Deadline(io.RawIOBase):
    """Reads of a socket that share one deadline until it is lifted."""

    def __init__(self, sock: socket.socket, raw: socket.SocketIO) -> None:
        self._sock, self._raw = sock, raw
        self._stall = sock.gettimeout()  # seconds; None waits for ever
        self._until = None if self._stall is None else time.monotonic() + self._stall

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any, /) -> int | None:  # noqa: ANN401 - as RawIOBase has it
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the headers took too long")
            self._sock.settimeout(left)
        return self._raw.readinto(into)

    def lift(self) -> None:
        self._until = None
        self._sock.settimeout(self._stall)

    def close(self) -> None:
        self._raw.close()
        super().close()
