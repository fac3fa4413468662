"""A crowd of connections that never get to ask anything; what ``benchmarks.crowds`` measures with.

    python -m benchmarks.crowd KIND PORT COUNT    prints how many came in, and stays

    idle        says nothing
    slow        sends a request's head, a byte every STEP seconds
    half-open   sends half a head; then this side is gone without a word, as a host without power

Whom the node sends away comes back, RATE a second; half-open ones, which would not notice, come
back at that rate whatever the node does.
"""

import itertools
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

RATE = 500  # a second on each plane; some more than a node can be made to hold
STEP = 2.0  # seconds; slowhttptest waits 10 between two bytes, slowloris 15
TICK = 0.05  # seconds
SETTLED = 20  # ticks until all sit: what is measured is a crowd that is there, not its arrival
HEAD = b"GET /v1/status HTTP/1.1\r\nHost: node\r\nX-Padding: " + b"x" * 4000
TCP_REPAIR = 19  # linux/tcp.h; a socket closed in it says nothing to its peer
_LIMIT = 10.0  # seconds to connect
_AT_ONCE = 16  # the kernel takes a millisecond, of waiting alone, to let go of a half-open one


class Crowd:
    """All connections of one process."""

    def __init__(self, port: int, begin: Callable[[socket.socket], bool]) -> None:
        """Connect to ``port``; ``begin`` has the first word, and returns whether there is more."""
        self.open: dict[int, socket.socket] = {}
        self._port = port
        self._begin = begin
        self._epoll = select.epoll()
        self._pool = ThreadPoolExecutor(_AT_ONCE)

    def join(self, count: int) -> int:
        """Open ``count`` connections more; return how many came in."""
        return sum(self._pool.map(lambda _: self._join(), range(count)))

    def ended(self) -> int:
        """Wait for a tick; return how many connections the node has ended."""
        time.sleep(TICK)  # whatever happens: who is sent away must not come back at once
        gone = [fd for fd, _ in self._epoll.poll(0)]
        for fd in gone:
            self.open.pop(fd).close()
        return len(gone)

    def _join(self) -> bool:
        try:
            sock = socket.create_connection(("127.0.0.1", self._port), _LIMIT)
            stays = self._begin(sock)
        except OSError:  # the node's queue is full: one less, as for anybody else
            return False
        if stays:
            sock.setblocking(False)
            self.open[sock.fileno()] = sock
            self._epoll.register(sock, select.EPOLLIN | select.EPOLLRDHUP)
        return True


def idle(_sock: socket.socket) -> bool:
    """Say nothing."""
    return True


def vanish(sock: socket.socket) -> bool:
    """Say half of something, and be gone."""
    sock.sendall(HEAD[:40])
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    sock.close()
    return False


def drip(crowd: Crowd, sent: dict[int, int]) -> None:
    """Send the next byte over as many connections as are due in one tick, in turns."""
    for fd in list(itertools.islice(crowd.open, round(len(crowd.open) * TICK / STEP) + 1)):
        sock = crowd.open.pop(fd)
        crowd.open[fd] = sock  # to the end of the line
        at = sent.get(fd, 0) % len(HEAD)
        sent[fd] = at + 1
        try:
            sock.send(HEAD[at : at + 1])
        except OSError:  # it has been ended; the next tick sees that
            sent.pop(fd)


def main(kind: str, port: int, count: int) -> None:
    """Come, say how many did, and stay."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.nice(10)  # it stands for machines of its own, and must not take ours from what is measured
    crowd = Crowd(port, vanish if kind == "half-open" else idle)
    sent: dict[int, int] = {}  # bytes, by connection
    missing = 0.0
    came = crowd.join(count)
    for tick in itertools.count():
        if tick == SETTLED:
            print(came, flush=True)
        ended = crowd.ended()
        missing += RATE * TICK if kind == "half-open" else ended
        back = int(min(missing, RATE * TICK))
        missing -= back
        crowd.join(back)
        if kind == "slow":
            drip(crowd, sent)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
