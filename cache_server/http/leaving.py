"""Connections of the control port that are answered elsewhere: S3's clients know one address alone.

    first bytes of a request ──under ``prefix``──> the socket goes to ``take``, with what was read
                             └─anything else─────> uvicorn, as ever

Bytes of weights must not pass through the event loop. A connection is given away whole, between
two requests, and comes back for one that is answered here: then it goes on as if it had never been
away, encrypted or not. What was read is neither changed nor judged here.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import h11

from cache_server.core.first_line import leads_under
from cache_server.handed import Back, Sealed
from cache_server.http.crowd import BoundedProtocol, Crowd
from cache_server.http.sealed import Resumed, Tls, taken_from

LOOK = 0.01  # seconds between two looks whether the last answer has left

log = logging.getLogger(__name__)


class Taker(Protocol):
    """Whoever goes on with a connection."""

    def __call__(
        self, sock: socket.socket, unread: bytes, sealed: Sealed | None, back: Back
    ) -> None:
        """Own ``sock`` from now on. Never waits.

        Args:
            sock: of the connection.
            unread: what has come over it, and was not answered.
            sealed: its encryption; None: it has none.
            back: takes all three again.

        Raises:
            OSError: the connection is good for nothing any more; the caller closes it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exit:
    """Where connections leave the control port."""

    prefix: bytes  # of the paths that are answered elsewhere
    take: Taker

    def protocol(self, crowd: Crowd) -> type[BoundedProtocol]:
        """Return the class of connections that uvicorn is to make."""
        return type("LeavingProtocol", (LeavingProtocol,), {"crowd": crowd, "exit": self})


class LeavingProtocol(BoundedProtocol):
    """One connection, as long as it is answered here."""

    exit: Exit  # set by ``Exit.protocol``
    unread: bytes = b""  # what a connection that has come back brings

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, a new one or one that comes back."""
        super().connection_made(transport)
        if self.unread:
            self.data_received(self.unread)

    def data_received(self, data: bytes) -> None:
        """Take bytes, or leave with them."""
        if self._leads_away(data):
            self._leave_soon(data)
        else:
            super().data_received(data)

    def on_response_complete(self) -> None:
        """Go on, or leave: the next request may be there already."""
        if self._leads_away(b""):
            self.server_state.total_requests += 1
            self._leave_soon(b"")
        else:
            super().on_response_complete()

    def _leads_away(self, data: bytes) -> bool:
        if self.transport.is_closing() or self._is_busy():  # looked at after the present answer
            return False
        if self.conn.their_state not in (h11.IDLE, h11.DONE):  # in a head, or this was the last
            return False
        return leads_under(self.exit.prefix, self._begun + data) is True

    @property
    def _begun(self) -> bytes:
        """What uvicorn's parser was given and has not taken."""
        return self.conn.trailing_data[0]

    def _leave_soon(self, data: bytes) -> None:
        # Not at once: whoever called, asyncio's TLS for one, is not done with the connection.
        self._unset_keepalive_if_required()
        self.transport.pause_reading()
        if self not in self.crowd.unread:
            self._wait()
        self.loop.call_soon(self._leave, self._begun + data)

    def _leave(self, unread: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size():  # of the last answer; ``crowd`` bounds the wait
            self.loop.call_later(LOOK, self._leave, unread)
        elif (given := self._given()) is None:
            self.turn_away()
        else:
            self._wait_no_longer()
            self._hand_over(unread, *given)

    def _given(self) -> tuple[socket.socket, Sealed | None] | None:
        """Return what the connection consists of; None if the peer has begun to end it."""
        tls: Tls | None = self.transport.get_extra_info("tls")
        return (taken_from(self.transport), None) if tls is None else tls.give_up()

    def _hand_over(self, unread: bytes, sock: socket.socket, sealed: Sealed | None) -> None:
        try:
            self.exit.take(sock, unread, sealed, partial(_come_back, self.loop, self._another))
        except OSError as error:
            log.debug("a connection ended while it was handed over: %s", error)
            sock.close()

    def _another(self, unread: bytes) -> "LeavingProtocol":
        """Return what this was before its first byte, for the same connection."""
        another = type(self)(self.config, self.server_state, self.app_state, self.loop)
        another.unread = unread
        return another


def _come_back(
    loop: asyncio.AbstractEventLoop,
    make: Callable[[bytes], LeavingProtocol],
    sock: socket.socket,
    unread: bytes,
    sealed: Sealed | None,
) -> None:
    """Have ``loop`` go on with a connection; from any thread."""

    def protocol() -> asyncio.BaseProtocol:
        inner = make(unread)
        return inner if sealed is None else Resumed(loop, inner, sealed)

    async def go_on() -> None:
        try:
            await loop.connect_accepted_socket(protocol, sock)
        except OSError as error:
            log.debug("a connection ended on its way back: %s", error)
            sock.close()
        except Exception:  # a bug: nobody looks at what becomes of this coroutine
            log.exception("a connection was lost on its way back")
            sock.close()

    coming = go_on()
    try:
        asyncio.run_coroutine_threadsafe(coming, loop)
    except RuntimeError as error:  # the loop has ended, and with it the node
        log.debug("nobody takes a connection back: %s", error)
        coming.close()
        sock.close()
