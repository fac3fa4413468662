"""One keep-alive connection to the data plane: requests out, answers in, in order.

Blocking, with the timeouts in the kernel (SO_RCVTIMEO): a Python timeout would cost a ``poll``
per piece. ``abort`` may come from any thread and ends whatever waits. Where the node's URL says
https, ``secure`` stands between this and the socket.
"""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from replica_agent.core.answers import (
    HEAD_END,
    MAX_HEAD,
    MAX_PROBLEM,
    Head,
    LostError,
    UntrustedError,
    parse_head,
    refusal,
)
from replica_agent.core.urls import Endpoint
from replica_agent.secure import TlsSocket
from replica_agent.trust import Trust, explained

Channel = socket.socket | TlsSocket  # what bytes go through

CONNECT_TIMEOUT = 10.0  # seconds
STALL_TIMEOUT = 60.0  # seconds that a piece may take to come
HEAD_TIMEOUT = 10.0  # seconds from the first byte of a head to its last


def dial(
    endpoint: Endpoint,
    timeout: float,
    watch: Callable[[socket.socket], None],
    wrap: Callable[[socket.socket], socket.socket] | None = None,
) -> socket.socket:
    """Connect to ``endpoint``; ``watch`` sees each socket before it waits, and may hang it up.

    ``wrap`` makes another socket of each before that, such as one that is encrypted.

    Raises:
        OSError: no address answers within ``timeout`` seconds, or ``watch`` raised it.
    """
    failure = OSError("the name has no address")
    for family, kind, protocol, _, place in _addresses(endpoint):
        sock = socket.socket(family, kind, protocol)
        if wrap is not None:
            sock = wrap(sock)
        try:
            sock.settimeout(timeout)
            watch(sock)
            sock.connect(place)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


def _addresses(endpoint: Endpoint) -> list[tuple[Any, ...]]:
    return socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)


def hang_up(sock: Channel) -> None:
    """End whatever waits on ``sock``, in any thread."""
    with suppress(OSError):  # it ended by itself in this moment
        if isinstance(sock, socket.socket):
            # Not the method of an SSLSocket, which takes the session from under whoever reads.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)
        else:
            sock.shutdown(socket.SHUT_RDWR)


class Connection:
    """A connection that carries pipelined requests. One thread reads and writes."""

    def __init__(
        self, endpoint: Endpoint, *, stall: float = STALL_TIMEOUT, trust: Trust | None = None
    ) -> None:
        """Talk to ``endpoint``; give up on a read after ``stall`` seconds.

        ``trust`` says whose certificates are believed, where it speaks TLS.
        """
        self._endpoint = endpoint
        self._trust = trust or Trust()
        self._stall = stall
        self._spare = b""  # read with a head, belongs to what follows it
        self._socket: Channel | None = None
        self._aborted = False

    def open(self) -> None:
        """Connect.

        Raises:
            LostError: nobody answers there, or not who it should be.
        """
        try:
            sock = dial(self._endpoint, CONNECT_TIMEOUT, self._watch)
            if self._endpoint.tls:
                self._secure(sock)
        except ssl.SSLCertVerificationError as error:
            raise UntrustedError(f"{self._endpoint}: {explained(error)}") from error
        except OSError as error:
            raise LostError(f"{self._endpoint}: {explained(error)}") from error
        sock.settimeout(None)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _keep_alive(sock)
        _limit(sock, self._stall)

    def _secure(self, sock: socket.socket) -> None:
        tls = TlsSocket(sock, self._trust.context, self._endpoint.host, stall=self._stall)
        tls.shake_hands(CONNECT_TIMEOUT)
        self._socket = tls

    def _watch(self, sock: socket.socket) -> None:
        self._socket = sock
        if self._aborted:
            raise OSError("aborted")

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()

    def abort(self) -> None:
        """End every call that waits on this connection, and every later one."""
        self._aborted = True
        if self._socket is not None:
            hang_up(self._socket)

    def send(self, requests: bytes) -> None:
        """Write ``requests``; LostError when the node does not take them."""
        try:
            self._connected.sendall(requests)
        except OSError as error:
            raise LostError(f"{self._endpoint}: {error}") from error

    def head(self) -> Head:
        """Return the head of the next answer.

        Raises:
            RefusedError: a status of 400 and above; its body has been read.
            LostError: the connection ended, stalled, or the answer has another form.
        """
        head = parse_head(self._read_head())
        if head.status >= 400:
            if head.length > MAX_PROBLEM:
                raise LostError(f"status {head.status} with {head.length} bytes of reason")
            raise refusal(head, self.read(head.length))
        return head

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes; few, such as digests."""
        body = bytearray(size)
        self.receive(memoryview(body))
        return bytes(body)

    def receive(self, into: memoryview) -> None:
        """Fill ``into`` with the next bytes; LostError when they do not all come in time.

        One system call per piece when it comes at once: the kernel waits for the rest.
        """
        filled = min(len(self._spare), len(into))
        if filled:
            into[:filled] = self._spare[:filled]
            self._spare = self._spare[filled:]
        started = time.monotonic()
        while filled < len(into):
            if time.monotonic() - started > self._stall:  # it drips: the kernel saw some bytes
                raise LostError(f"{self._endpoint} sent {filled} of {len(into)} bytes in time")
            filled += self._receive(into[filled:], socket.MSG_WAITALL)

    def _read_head(self) -> bytes:
        started = time.monotonic() if self._spare else None
        while (end := self._spare.find(HEAD_END)) < 0:
            if len(self._spare) >= MAX_HEAD:
                raise LostError(f"a head of more than {MAX_HEAD} bytes")
            buffer = bytearray(4096)
            self._spare += buffer[: self._receive(memoryview(buffer), 0)]
            started = started or time.monotonic()
            if time.monotonic() - started > HEAD_TIMEOUT:
                raise LostError(f"a head that takes more than {HEAD_TIMEOUT:.0f} s")
        head, self._spare = self._spare[:end], self._spare[end + len(HEAD_END) :]
        return head

    def _receive(self, into: memoryview, flags: int) -> int:
        try:
            size = self._connected.recv_into(into, 0, flags)
        except BlockingIOError as error:
            raise LostError(f"{self._endpoint} sent nothing in time") from error
        except OSError as error:
            raise LostError(f"{self._endpoint}: {error}") from error
        if size == 0:
            raise LostError(f"{self._endpoint} closed the connection")
        return size

    @property
    def _connected(self) -> Channel:
        if self._socket is None or self._aborted:
            raise LostError(f"{self._endpoint} is not connected")
        return self._socket


class Line:
    """The connection that a thread uses now, so that another thread can end what it waits for."""

    def __init__(self, trust: Trust | None = None) -> None:
        """Start without a connection; ``trust`` says whose certificates are believed."""
        self._trust = trust or Trust()
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._cut = False

    @contextmanager
    def connect(self, endpoint: Endpoint, *, stall: float = STALL_TIMEOUT) -> Iterator[Connection]:
        """Connect to ``endpoint`` and hang up at the end; LostError as ``Connection`` says."""
        connection = Connection(endpoint, stall=stall, trust=self._trust)
        with self._lock:
            self._connection = connection
            if self._cut:
                connection.abort()
        try:
            connection.open()
            yield connection
        finally:
            connection.close()

    def cut(self) -> None:
        """End the wait of the thread, and every later one."""
        with self._lock:
            self._cut = True
            if self._connection is not None:
                self._connection.abort()


def _limit(sock: socket.socket, seconds: float) -> None:
    whole = int(seconds)
    limit = struct.pack("@ll", whole, int((seconds - whole) * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _keep_alive(sock: socket.socket) -> None:
    """Notice a host that vanished without a word, within 15 + 3 times 5 seconds."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
