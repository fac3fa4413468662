"""The certificate that this node shows, and its key: read from files, and again when they change.

Both planes ask for the present context at each new connection. Connections that are there keep
the one with which they began, so that a renewed certificate drops nobody. Files that do not belong
together, as in the middle of a renewal, change nothing: the last good pair stays.
"""

import hashlib
import os
import ssl
from pathlib import Path
from typing import NoReturn

from cache_protocol.errors import MalformedError

_Signature = tuple[tuple[int, int, int], ...]


class Certificates:
    """A certificate chain and its key, in PEM. Safe for threads: one attribute is replaced."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Read both.

        Raises:
            MalformedError: one cannot be read, or they do not belong together.
        """
        self._cert, self._key = cert, key
        self._seen = self._signature()
        self._context, self.fingerprint = self._load()

    def __call__(self) -> ssl.SSLContext:
        """Return the context for a connection that begins now."""
        return self._context

    def keep_fresh(self) -> bool:
        """Read the files again if they have changed; return whether they had.

        Raises:
            MalformedError: they cannot be used; the last good pair stays. The next call says so
                again, until they can.
        """
        seen = self._signature()
        if seen == self._seen:
            return False
        self._context, self.fingerprint = self._load()
        self._seen = seen
        return True

    def _signature(self) -> _Signature:
        """Return what changes when a file is written anew, or a link is set to another one."""
        try:
            stats = [os.stat(path) for path in (self._cert, self._key)]
        except OSError as error:
            raise MalformedError(f"{error.filename} cannot be read: {error.strerror}") from error
        return tuple((s.st_ino, s.st_mtime_ns, s.st_size) for s in stats)

    def _load(self) -> tuple[ssl.SSLContext, str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A client of TLS 1.2 could have us compute for ever; 1.3 knows no renegotiation.
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
        # Whoever has the key of session tickets reads what was sent: there is none.
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._cert, self._key, password=_no_passphrase)
            fingerprint = fingerprint_of(ssl.PEM_cert_to_DER_cert(_first(self._cert.read_text())))
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise MalformedError(
                f"{self._cert} and {self._key} are not a certificate and its key in PEM: {error}"
            ) from error
        return context, fingerprint


def fingerprint_of(certificate: bytes) -> str:
    """Return the sha256, in hex, of a certificate in DER."""
    return hashlib.sha256(certificate).hexdigest()


def _first(chain: str) -> str:
    """Return the first certificate of a chain in PEM: the node's own."""
    end = chain.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
    return chain[chain.index(ssl.PEM_HEADER) : end]


def _no_passphrase() -> NoReturn:
    raise ValueError("the key wants a passphrase, and nobody is there to type it: store it without")
