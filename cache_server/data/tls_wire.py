"""The wire of a connection that is encrypted: as ``Wire``, but that bytes are copied and sealed.

``sendfile`` cannot encrypt, so a file is read in pieces that stay in the processor's cache while
they are sealed and sent. Memory is bounded: one piece per thread, one sealed piece per connection.
"""

import os
import socket
import threading
from collections.abc import Callable
from functools import cached_property

from cache_protocol.ranges import Span
from cache_server.data.read_ahead import ReadAhead
from cache_server.data.stats import Tally
from cache_server.data.tls import Session, TlsError
from cache_server.data.wire import (
    READ_SIZE,
    ReaderLeftError,
    TruncatedError,
    Wire,
    sending,
)
from cache_server.handed import Sealed

# Bytes that are sealed before they are sent. 64 KiB to 1 MiB are equally fast; the library keeps
# the memory of the largest piece for as long as the connection lives: 82 kB with the session.
PIECE = 64 * 2**10

_of_thread = threading.local()


class TlsWire(Wire):
    """Sends to one peer and receives from it, encrypted."""

    def __init__(
        self,
        sock: socket.socket,
        tally: Tally,
        session: Callable[[], Session],
        *,
        ready: bool = False,
    ) -> None:
        """Wrap ``sock``; ``session`` is asked for once, ``ready`` if its handshake is over."""
        super().__init__(sock, tally)
        self._begin = session
        self._ready = ready

    @cached_property
    def _session(self) -> Session:
        """Made when the first byte has come: a silent crowd costs no more than without TLS."""
        return self._begin()

    @property
    def ready(self) -> bool:
        """Whether the handshake is over."""
        return self._ready

    @property
    def sealed(self) -> Sealed:
        """Implement ``Wire``."""
        return self._session.sealed

    def shake(self) -> bool:
        """Go on with the handshake, without waiting; return whether it is over.

        Raises:
            NotTlsError: the peer speaks plain HTTP.
            ReaderLeftError: it left, or no handshake is possible with it.
        """
        if self._feed() == b"":
            raise ReaderLeftError("the peer closed in the handshake")
        try:
            self._ready = self._session.shake()
        except TlsError as error:
            self._flush_at_once()  # why
            raise ReaderLeftError(str(error)) from error
        self._flush_at_once()
        return self._ready

    def receive(self) -> bytes | None:
        """Implement ``Wire``."""
        came = self._feed()
        try:
            plain = self._session.read()
        except TlsError as error:
            raise ReaderLeftError(str(error)) from error
        self._flush_at_once()  # the protocol's own answers, such as to a change of keys
        if came == b"" and not plain:
            raise ReaderLeftError("the peer closed")
        return plain or None

    def send(self, data: bytes | memoryview, *, more: bool = False) -> None:
        """Implement ``Wire``; with ``more`` the bytes leave with the next ones."""
        self.begun = True
        view = memoryview(data)
        for begin in range(0, len(view), PIECE):
            self._seal(view[begin : begin + PIECE])
            if not more:
                with sending():
                    self._sock.sendall(self._session.leaving())

    def send_file(self, fd: int, span: Span) -> None:
        """Implement ``Wire``."""
        at, ahead, room = span.begin, ReadAhead(fd, span), _room()
        while at < span.end:
            ahead.advance(at)
            with self.at_the_disk(), sending(at):
                size = os.preadv(fd, [room[: span.end - at]], at)
            if size == 0:
                raise TruncatedError(f"the file ends at {at} of {span.end} bytes")
            self.send_body(room[:size])
            at += size

    def send_at_once(self, data: bytes) -> None:
        """Implement ``Wire``; a peer without a handshake could read nothing of it."""
        if self.ready:
            self._seal(data)
            self._flush_at_once()

    def end(self) -> None:
        """Implement ``Wire``: the peer can tell an end from a connection that was cut."""
        if self.ready:
            self._session.end()
            self._flush_at_once()

    def _seal(self, data: bytes | memoryview) -> None:
        try:
            self._session.seal(data)
        except TlsError as error:
            raise ReaderLeftError(str(error)) from error

    def _feed(self) -> bytes | None:
        """Take what has come; return it, None if nothing has."""
        try:
            came = self._sock.recv(READ_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ReaderLeftError(str(error)) from error
        self._session.feed(came)
        return came

    def _flush_at_once(self) -> None:
        """Send what is leaving, if the peer's window takes it; it is a few bytes.

        Raises:
            ReaderLeftError: it does not: a peer that has us talk and does not listen.
        """
        leaving = self._session.leaving()
        try:
            sent = self._sock.send(leaving, socket.MSG_DONTWAIT) if leaving else 0
        except OSError as error:  # also that it would have to wait
            raise ReaderLeftError(str(error)) from error
        if sent < len(leaving):
            raise ReaderLeftError("the peer does not listen")


def _room() -> memoryview:
    """Return this thread's memory for one piece of a file."""
    if not hasattr(_of_thread, "room"):
        _of_thread.room = memoryview(bytearray(PIECE))
    room: memoryview = _of_thread.room
    return room
