"""One encrypted connection of the control port, and how its encryption leaves and comes back.

It is asyncio's own, which keeps a session in memory and never shows the socket to it: so the
session can be taken out between two requests, used elsewhere, and put into a new connection. What
is private to asyncio is touched here alone.
"""

import asyncio
import socket
import ssl
from asyncio import sslproto
from typing import cast

from cache_server.handed import Sealed

HANDSHAKE_LIMIT = 10.0  # seconds from the connection to the end of its handshake
GOODBYE_LIMIT = 2.0  # seconds that a peer gets to end the session as well


class Tls(sslproto.SSLProtocol):
    """The encryption of one connection, from its handshake on."""

    # asyncio's own, which its stubs leave out.
    _state: sslproto.SSLProtocolState
    _sslobj: ssl.SSLObject
    _incoming: ssl.MemoryBIO
    _outgoing: ssl.MemoryBIO

    max_size = 16 * 2**10  # bytes that each connection has for reading; asyncio takes 256 KiB

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, and let the protocol inside find this by its transport."""
        self._extra["tls"] = self
        super().connection_made(transport)

    def take(self, data: bytes) -> None:
        """Take bytes that came before this was the connection's protocol."""
        view = memoryview(data)
        while view:
            room = self.get_buffer(len(view))
            size = min(len(room), len(view))
            room[:size] = view[:size]
            self.buffer_updated(size)
            view = view[size:]

    def give_up(self) -> tuple[socket.socket, Sealed] | None:
        """Return a socket of the connection, and its session; nothing more is done with either.

        The protocol inside is told that its connection is lost. Call it between two requests, with
        reading paused, nothing left to be written, and not from that protocol's own methods.

        Returns:
            None: the peer has begun to end the session, and it must be closed here.
        """
        if self._state is not sslproto.SSLProtocolState.WRAPPED:
            return None
        transport = cast("asyncio.Transport", self._transport)
        sealed = Sealed(self._sslobj, self._incoming, self._outgoing)
        # asyncio throws away what is in them when a connection is lost.
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        sock = taken_from(transport)
        return sock, sealed

    def _get_write_buffer_size(self) -> int:
        """Count what is encrypted and has not left, too: asyncio would think of it as gone.

        Then a caller that reads nothing of a large answer would not be noticed, see ``unread``.
        """
        plain: int = super()._get_write_buffer_size()  # type: ignore[misc]
        below = cast("asyncio.Transport | None", self._transport)
        return plain + (0 if below is None else below.get_write_buffer_size())


class Resumed(Tls):
    """The same, for a connection that has had its handshake and was elsewhere meanwhile."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, inner: asyncio.Protocol, sealed: Sealed
    ) -> None:
        super().__init__(
            loop,
            inner,
            sealed.tls.context,
            None,  # type: ignore[arg-type] # nobody waits for the end of a handshake
            server_side=True,
            call_connection_made=False,  # done below, since no handshake ends
            ssl_shutdown_timeout=GOODBYE_LIMIT,
        )
        self._sslobj, self._incoming, self._outgoing = sealed
        self._state = sslproto.SSLProtocolState.WRAPPED

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go on where the session was; something may have come with the last bytes read."""
        self._extra.update(tls=self, ssl_object=self._sslobj)
        self._transport = transport
        self._app_protocol.connection_made(self._get_app_transport())  # type: ignore[attr-defined]
        self._do_read()  # type: ignore[attr-defined]


def taken_from(transport: asyncio.Transport) -> socket.socket:
    """Return a socket of the connection of ``transport``, which then knows it no more.

    The descriptor is another one, so that closing that of the transport does not end the
    connection: https://man7.org/linux/man-pages/man2/close.2.html.
    """
    sock: socket.socket = transport.get_extra_info("socket").dup()
    transport.abort()
    return sock
