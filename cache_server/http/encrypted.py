"""The control port with TLS: each connection is encrypted before uvicorn sees it.

    accept ──> Encrypted: first byte ──TLS──> asyncio's own SSLProtocol ──> BoundedProtocol
                                     └─plain──> 400 in plain text, closed

uvicorn's own way takes one certificate for the life of the process, waits a minute for a handshake
and does not count who is in one. Here the certificate is asked for at each connection, a handshake
has ``HANDSHAKE_LIMIT``, and where it grows crowded the oldest that is not done has to go.
"""

import asyncio
import json
import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from cache_protocol.errors import MalformedError, to_problem
from cache_server.http.crowd import MAX_CONNECTIONS
from cache_server.http.sealed import GOODBYE_LIMIT, HANDSHAKE_LIMIT, Tls

_HANDSHAKE = 22  # the type of the first record of TLS, RFC 8446 section 5.1
_PROBLEM = json.dumps(
    to_problem(MalformedError("this port speaks TLS: ask with https"), 400)
).encode()
_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(_PROBLEM), _PROBLEM)
)


@dataclass(slots=True)
class Encryption:
    """What all connections of one port share."""

    context: Callable[[], ssl.SSLContext]  # for a connection that begins now
    limit: int = MAX_CONNECTIONS  # connections that are in their handshake
    patience: float = HANDSHAKE_LIMIT  # seconds
    shaking: "dict[Encrypted, None]" = field(default_factory=dict)  # the oldest first

    def protocol(self, inner: Callable[..., asyncio.Protocol]) -> Callable[..., asyncio.Protocol]:
        """Return what uvicorn is to make for a connection, in front of ``inner``."""

        def make(**given: Any) -> asyncio.Protocol:  # noqa: ANN401 - uvicorn's own arguments
            return Encrypted(self, lambda: inner(**given))

        return make


class Encrypted(asyncio.Protocol):
    """One connection until its first bytes tell whether it speaks TLS."""

    def __init__(self, shared: Encryption, inner: Callable[[], asyncio.Protocol]) -> None:
        self._shared = shared
        self._inner = inner
        self._transport: asyncio.Transport  # from ``connection_made`` on
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first byte, in the place of another one if there are too many."""
        self._transport = cast("asyncio.Transport", transport)  # it is a stream
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._shared.patience, self.turn_away)
        self._shared.shaking[self] = None
        if len(self._shared.shaking) > self._shared.limit:
            next(iter(self._shared.shaking)).turn_away()

    def data_received(self, data: bytes) -> None:
        """Let TLS take over, or refuse what is none."""
        if data[0] != _HANDSHAKE:
            self._transport.write(_PLAIN)
            self._transport.close()
            return
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        over.add_done_callback(self._handshake_over)
        # Made directly, as ``loop.create_server`` would: ``loop.start_tls`` lets bytes reach the
        # application before it has heard of its connection.
        tls = Tls(
            loop,
            self._inner(),
            self._shared.context(),
            over,
            server_side=True,
            ssl_handshake_timeout=math.ceil(self._shared.patience),
            ssl_shutdown_timeout=GOODBYE_LIMIT,
        )
        self._transport.set_protocol(tls)
        tls.connection_made(self._transport)
        tls.take(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget it; it never came to a handshake."""
        self._settle()

    def turn_away(self) -> None:
        """End it without a word."""
        self._settle()
        self._transport.abort()

    def _handshake_over(self, over: "asyncio.Future[None]") -> None:
        """Well or not: asyncio closes the connection in the latter case."""
        over.exception()
        self._settle()

    def _settle(self) -> None:
        self._shared.shaking.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
