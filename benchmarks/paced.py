"""A node behind a slow link: ``python -m benchmarks.paced RATE serve …``.

The kernel paces every connection of the data plane to RATE bytes a second (SO_MAX_PACING_RATE,
tcp(7)), so that a link's speed can be had over loopback and costs no processor. Sockets inherit
the rate from the one that listens.
"""

import socket
import sys

from cache_protocol.units import parse_size
from cache_server.__main__ import main
from cache_server.data import plane
from cache_server.data.limits import Limits

_SO_MAX_PACING_RATE = 47  # source: asm-generic/socket.h


def _pace(rate: int) -> None:
    usual = plane._listen  # noqa: SLF001 - a link is not something that a node should know of

    def listen(host: str, port: int, limits: Limits) -> socket.socket:
        listener = usual(host, port, limits)
        listener.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, rate)
        return listener

    plane._listen = listen  # noqa: SLF001


if __name__ == "__main__":
    _pace(parse_size(sys.argv.pop(1)))
    main()
