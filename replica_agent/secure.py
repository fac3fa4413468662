"""An encrypted connection that is used like a socket, as far as a lane uses one.

The library reads from memory and not from the socket: one system call brings several records, where
it would take two calls for each by itself. One thread reads and writes; ``shutdown`` may come from
any.
"""

import socket
import ssl
import time
from typing import cast

RAW = 128 * 2**10  # bytes that one read takes off the socket: eight records


class TlsSocket:
    """A connected socket with a session on top."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, name: str, *, stall: float
    ) -> None:
        """Talk to the node that is called ``name`` over ``sock``.

        Args:
            sock: connected, and blocking.
            context: whom to believe.
            name: as it stands in the URL; the certificate must be for it.
            stall: seconds that one record may take to come.
        """
        self._sock = sock
        self._stall = stall
        self._came, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._leaving, server_hostname=name)
        self._raw = memoryview(bytearray(RAW))

    def shake_hands(self, timeout: float) -> None:
        """Begin the session.

        Raises:
            OSError: it takes more than ``timeout`` seconds in all, or the certificate is not good.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
            else:
                self._flush()
                return
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no handshake within {timeout:.0f} s")
            self._sock.settimeout(left)
            if not self._refill():
                raise ConnectionResetError("the node closed the connection in the handshake")

    def sendall(self, data: bytes) -> None:
        """Send all of ``data``."""
        self._tls.write(data)
        self._flush()

    def recv_into(self, into: memoryview, _size: int = 0, _flags: int = 0) -> int:
        """Receive some bytes; 0 at the end. Returns what one read of the socket gave, at least 1.

        Raises:
            OSError: the session broke, or no whole record came within the stall time.
        """
        started = time.monotonic()
        while True:
            filled = self._read(into)
            if filled:
                return filled
            if time.monotonic() - started > self._stall:
                raise BlockingIOError("it drips")
            if not self._refill():
                return 0

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def shutdown(self, how: int) -> None:
        """End whatever waits, in any thread."""
        self._sock.shutdown(how)

    def _read(self, into: memoryview) -> int:
        """Fill ``into`` as far as what came allows."""
        filled = 0
        try:
            while filled < len(into):
                # With a buffer it returns a count, whatever the stubs say.
                size = cast("int", self._tls.read(len(into) - filled, into[filled:]))
                if size == 0:
                    break
                filled += size
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            return filled
        return filled

    def _refill(self) -> int:
        size = self._sock.recv_into(self._raw)
        self._came.write(self._raw[:size])
        return size

    def _flush(self) -> None:
        if leaving := self._leaving.read():
            self._sock.sendall(leaving)
