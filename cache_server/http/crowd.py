"""Connections of the control plane, bounded: how many, and how long one may say nothing.

uvicorn by itself waits for ever for the first request of a connection and for the rest of a slow
one, and takes as many connections as there are descriptors. Here a connection that has no request
under way is waiting: not for longer than ``HEAD_LIMIT``, and where it grows crowded the one that
waited longest goes, so that whoever has something to ask gets in. One that still reads its answer
is not waiting: see ``unread``.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from cache_server.http.unread import Unread

MAX_CONNECTIONS = 4096  # some 20 kB each; a region's replicas ask one call each, and leave
UNREAD = 2**16  # bytes that one may leave unread before nothing more is written to it
HEAD_LIMIT = 10.0  # seconds from the connection, or the last answer, to the end of a head


@dataclass(slots=True)
class Crowd:
    """All connections of one server that wait, in the order in which they came to wait."""

    limit: int = MAX_CONNECTIONS
    patience: float = HEAD_LIMIT  # seconds
    waiting: "dict[BoundedProtocol, asyncio.TimerHandle]" = field(default_factory=dict)
    unread: Unread = field(default_factory=Unread)

    def protocol(self) -> type[H11Protocol]:
        """Return the class of connections that uvicorn is to make."""
        return type("BoundedProtocol", (BoundedProtocol,), {"crowd": self})


class BoundedProtocol(H11Protocol):
    """One connection."""

    crowd: Crowd  # set by ``Crowd.protocol``

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a new connection, in the place of another one if there are too many."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=UNREAD)  # with TLS it is half a megabyte otherwise
        self._wait()
        if len(self.connections) > self.crowd.limit:
            next(iter(self.crowd.waiting)).turn_away()

    def pause_writing(self) -> None:
        """Write no more for now: the peer takes less than it asked for."""
        super().pause_writing()
        self._wait_no_longer()
        self.crowd.unread.begin(self)

    def resume_writing(self) -> None:
        """Go on: the peer has taken what it asked for."""
        super().resume_writing()
        self.crowd.unread.end(self)
        if not self._is_busy():
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Take bytes; a head that is not whole yet gets no more time for them."""
        super().data_received(data)
        if self._is_busy():
            self._wait_no_longer()

    def on_response_complete(self) -> None:
        """Go on: the next request may be there already, or has to come in time."""
        if self not in self.crowd.unread:
            self._wait()
        super().on_response_complete()
        if self._is_busy():
            self._wait_no_longer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._wait_no_longer()
        self.crowd.unread.end(self)
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        """Stay with HTTP/1.1, whatever is asked for and whichever libraries are installed.

        uvicorn would hand the socket to one of them, out of these bounds, or log two lines for
        every stranger who asks.
        """
        return False

    def turn_away(self) -> None:
        """End it without a word."""
        self._wait_no_longer()
        self.transport.abort()

    def _is_busy(self) -> bool:
        # ``cycle`` is that of the last request, and None before the first.
        cycle: Any = self.cycle
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        self._wait_no_longer()
        timer = self.loop.call_later(self.crowd.patience, self.turn_away)
        self.crowd.waiting[self] = timer

    def _wait_no_longer(self) -> None:
        timer = self.crowd.waiting.pop(self, None)
        if timer is not None:
            timer.cancel()
