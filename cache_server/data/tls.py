"""One peer's encryption: bytes that came in, bytes that are to leave. No socket in it.

    sealed ──feed()──> shake() until it is over ──> read() ──> plain
    plain ──seal()──> leaving() ──> sealed

The library writes to memory and not to the socket: whoever owns the connection decides when bytes
move and for how long that may wait, as without encryption. What is kept is bounded by what is fed
and sealed at once.
"""

import ssl
from typing import Self

from cache_server.handed import Sealed

RECORD = 16 * 2**10  # bytes that one record of TLS holds at most, RFC 8446 section 5.1


class NotTlsError(Exception):
    """The peer speaks plain HTTP."""


class TlsError(Exception):
    """The peer does not keep to TLS, or ended it."""


class Session:
    """The server's side. One owner at a time: it is not locked."""

    def __init__(self, sealed: Sealed) -> None:
        self.sealed = sealed
        self._tls, self._came, self._leaving = sealed

    @classmethod
    def begin(cls, context: ssl.SSLContext) -> Self:
        """Return a new session, before its handshake."""
        came, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        return cls(Sealed(context.wrap_bio(came, leaving, server_side=True), came, leaving))

    def feed(self, sealed: bytes) -> None:
        """Take what came from the peer."""
        self._came.write(sealed)

    def shake(self) -> bool:
        """Go on with the handshake as far as what came allows; return whether it is over.

        Computes for up to 4 ms, with a long RSA key, and waits for nothing.

        Raises:
            NotTlsError: it is not even TLS.
            TlsError: it failed; what is leaving tells the peer why.
        """
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            if error.reason in ("HTTP_REQUEST", "HTTPS_PROXY_REQUEST"):
                raise NotTlsError from error
            raise TlsError(f"no handshake: {error.reason or error}") from error
        return True

    def read(self) -> bytes:
        """Return all that can be read of what came; nothing if a record is not whole yet.

        Raises:
            TlsError: the peer ended the session, or what came is spoilt.
        """
        parts: list[bytes] = []
        try:
            while part := self._tls.read(RECORD):
                parts.append(part)
        except ssl.SSLWantReadError:
            return b"".join(parts)
        except ssl.SSLError as error:
            if not parts:
                raise TlsError(error.reason or str(error)) from error
        if not parts:
            raise TlsError("the peer ended the session")
        return b"".join(parts)  # the next call meets the end again

    def seal(self, plain: bytes | memoryview) -> None:
        """Encrypt ``plain``; ``leaving`` has it.

        Raises:
            TlsError: the session is over.
        """
        view = memoryview(plain)
        try:
            for begin in range(0, len(view), RECORD):
                self._tls.write(view[begin : begin + RECORD])
        except ssl.SSLError as error:
            raise TlsError(error.reason or str(error)) from error

    def leaving(self) -> bytes:
        """Return, once, what has to be sent to the peer."""
        return self._leaving.read()

    def end(self) -> None:
        """Say that nothing more comes; does not wait for the peer to say the same."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # it has not answered yet, or is gone: either way we are done
            return
