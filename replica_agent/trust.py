"""Whose certificates the agent believes, and what it says of one that it does not.

The authorities are read when the first node wants them, which takes 20 ms: an agent that speaks
plain HTTP, on loopback or where somebody else encrypts, starts without them.
"""

import ssl
from functools import cached_property
from pathlib import Path

from cache_protocol.errors import MalformedError
from replica_agent.reasons import reason

# What OpenSSL calls an answer that is no TLS at all.
_NOT_TLS = (
    "WRONG_VERSION_NUMBER",
    "RECORD_LAYER_FAILURE",
    "HTTP_REQUEST",
    "PACKET_LENGTH_TOO_LONG",
)


class Trust:
    """The certificates of one agent's nodes are good when an authority of these signed them."""

    def __init__(self, ca: Path | None = None) -> None:
        """Believe the authorities in the file ``ca``, in PEM; without one, those of the system."""
        self._ca = ca

    @cached_property
    def context(self) -> ssl.SSLContext:
        """How to begin a session; the node's certificate must be for the name it is asked by.

        Raises:
            MalformedError: the file cannot be read, or holds no certificate.
        """
        try:
            context = ssl.create_default_context(cafile=self._ca)
        except OSError as error:  # ssl.SSLError is one
            raise MalformedError(
                f"REPLICA_AGENT_CA {self._ca} is not a file of certificates in PEM: {error}"
            ) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context


def explained(error: Exception) -> str:
    """Return why a node was not reached, with what to do where that is about TLS."""
    doubt = getattr(error, "verify_message", None)
    if doubt:
        return (
            f"its certificate is not believed: {doubt}; REPLICA_AGENT_CA names the file of the "
            "authority that signed it, and the name in the URL must be one of its names"
        )
    if getattr(error, "reason", None) in _NOT_TLS:
        return "it speaks no TLS there: does its URL begin with http://?"
    return reason(error)
