"""What a connection consists of when one port of the node hands it to another."""

import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple


class Sealed(NamedTuple):
    """A session of TLS, as its next owner needs it. One owner at a time: it is not locked."""

    tls: ssl.SSLObject
    came: ssl.MemoryBIO  # sealed, and not read yet
    leaving: ssl.MemoryBIO  # sealed, and not sent yet


# Takes a socket, what has come over it and was not answered, and its encryption if it has one.
# Owns all three from then on; safe for threads, and never waits.
Back = Callable[[socket.socket, bytes, Sealed | None], None]
