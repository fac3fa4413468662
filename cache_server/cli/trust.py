"""How a command knows that the node it talks to, encrypted, is the one that was meant.

By an authority that signed the node's certificate for the name in the URL; or, for a node on this
machine whose ROOT the user can read, by the very certificate that the node says it shows. Then
neither name nor authority matters: ``--root`` works with an address of loopback and a certificate
for the world.
"""

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path

from cache_protocol.errors import MalformedError
from cache_server.certificates import fingerprint_of

# What OpenSSL calls an answer that is no TLS at all.
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
)


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to believe."""

    ca: Path | None = None  # authorities in PEM; None: those that the system believes
    certificate: str | None = None  # sha256 in hex; only this one, whoever signed it

    def connection(self, host: str, port: int, timeout: float) -> http.client.HTTPSConnection:
        """Return a connection that is not open yet; it raises OSError on one not to be believed.

        Raises:
            MalformedError: the file of authorities cannot be read.
        """
        if self.certificate is not None:
            return _Pinned(host, port, timeout, self.certificate)
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:  # ssl.SSLError is one
            raise MalformedError(
                f"--ca {self.ca} is not a file of certificates in PEM: {error}"
            ) from error
        return http.client.HTTPSConnection(host, port, timeout=timeout, context=context)


SYSTEM = Trust()


class _Pinned(http.client.HTTPSConnection):
    def __init__(self, host: str, port: int, timeout: float, certificate: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # it is compared below, before a word is sent
        super().__init__(host, port, timeout=timeout, context=context)
        self._certificate = certificate

    def connect(self) -> None:
        super().connect()
        if fingerprint_of(self.sock.getpeercert(binary_form=True) or b"") != self._certificate:
            self.close()
            raise ConnectionError("it shows another certificate than the node of this ROOT")


def explained(error: Exception) -> str:
    """Return why a node was not reached, with what to do where that is about TLS."""
    doubt = getattr(error, "verify_message", None)
    if doubt:
        return (
            f"its certificate is not believed: {doubt}; --ca or CACHE_SERVER_CA names the file of "
            "the authority that signed it, and the name in the URL must be one of its names"
        )
    if getattr(error, "reason", None) in _NOT_TLS:
        return "it speaks no TLS there: does its URL begin with http://?"
    return str(error) or repr(error)
