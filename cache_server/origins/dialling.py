"""Connect to an address that was judged, and to that one: the name is not looked up again."""

import socket

from cache_protocol.errors import MalformedError
from cache_protocol.names import shown
from cache_server.core.reach import Reach

# Tried of one name. Who answers for a name can give it thousands, of which none answers; a CDN
# gives 2 to 8, and the system sorts those that can be reached to the front (RFC 6724).
MAX_ADDRESSES = 8


def dial(reach: Reach, host: str, port: int, timeout: float) -> socket.socket:
    """Return a connection to the first address of ``host`` that ``reach`` permits and answers.

    Args:
        reach: which addresses may be connected to.
        host: name or address.
        port: TCP port.
        timeout: seconds, for each address.

    Raises:
        MalformedError: ``host`` is at addresses alone that an origin has no business at.
        OSError: it has no address, or none of them answers.
    """
    found = [entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    permitted = [str(address) for address in found if reach.permits(host, str(address))]
    if not permitted:
        raise _private(host, ", ".join(map(str, found)))
    failure: OSError | None = None
    for address in permitted[:MAX_ADDRESSES]:
        try:
            sock = socket.create_connection((address, port), timeout)
        except OSError as error:
            failure = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
    raise failure or OSError(f"{host} has no address")


def check_literal(reach: Reach, host: str) -> None:
    """Judge ``host`` if it is itself an address; MalformedError."""
    try:
        address = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)[0][4][0]
    except socket.gaierror:
        return
    if not reach.permits(host, str(address)):
        raise _private(host, str(address))


def _private(host: str, addresses: str) -> MalformedError:
    return MalformedError(
        f"{shown(host)} is at {addresses}: a private address, which origins may not lead to. If "
        "it is meant, name it in CACHE_SERVER_PRIVATE_ORIGINS"
    )
