"""Messages over a unix socket: whole lines, descriptors, and only with our own user.

The directory of the socket is 0700, and both ends ask the kernel who the other one is: a socket
that somebody else put there is no agent, and somebody else is no engine.
"""

import os
import select
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from cache_protocol.errors import MalformedError, UnauthorizedError
from replica_agent.handover.messages import MAX_LINE, decode, encode

_LONGEST = 107  # bytes of a path in sockaddr_un. Source: unix(7)
_MOST = 2  # descriptors that come with one message: a model's memory, and a rank's
_PIECE = 64 * 2**10  # bytes asked of the kernel at a time
# Source: unix(7), struct ucred: pid, uid, gid. The pid is of our own namespace.
_UCRED = struct.Struct("iII")


class Peer(NamedTuple):
    """The process at the other end, as the kernel knows it."""

    pid: int
    uid: int


class Lines:
    """One connected socket. One thread reads, and one at a time writes."""

    def __init__(self, sock: socket.socket) -> None:
        """Speak over ``sock``, which belongs to this object from now on."""
        self._sock = sock
        self._buffer = bytearray()
        self._writing = threading.Lock()

    def write(self, message: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send ``message``, and ``fds`` along with it.

        Raises:
            OSError: the other side has gone.
        """
        data = encode(message)
        with self._writing:
            if fds:
                sent = socket.send_fds(self._sock, [data], fds)
                data = data[sent:]
            self._sock.sendall(data)

    def read(self) -> dict[str, Any] | None:
        """Return the next message, None at the end.

        Raises:
            OSError: the other side broke off, or was silent for too long.
            MalformedError: a line that is too long, or no message.
        """
        while (end := self._buffer.find(b"\n")) < 0:
            if not self._take(self._sock.recv(_PIECE)):
                return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return decode(line)

    def read_with_descriptors(self) -> tuple[dict[str, Any] | None, list[int]]:
        """Return the first message that says anything, and the descriptors that came with it.

        The descriptors are the caller's. Raises as ``read`` does.
        """
        held: list[int] = []
        try:
            while self._take(self._receive(held)):
                while b"\n" in self._buffer:
                    if message := self.read():
                        given, held = held, []
                        return message, given
        finally:
            for fd in held:
                os.close(fd)
        return None, []

    def wait(self, seconds: float) -> bool:
        """Return whether ``read`` has something to begin with; wait for it for so long at most."""
        if b"\n" in self._buffer:
            return True
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def nudge(self) -> bool:
        """Send an empty message if there is room for it; False when the other side has gone."""
        if not self._writing.acquire(blocking=False):
            return True  # somebody sends it something better
        try:
            self._sock.send(encode({}), socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True  # it has enough to read
        except OSError:
            return False
        finally:
            self._writing.release()
        return True

    def cut(self) -> None:
        """End whatever waits, from any thread; ``close`` still has to follow."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was not connected any more

    def close(self) -> None:
        """Give the socket up."""
        self._sock.close()

    def _receive(self, fds: list[int]) -> bytes:
        data, got, _, _ = socket.recv_fds(self._sock, _PIECE, _MOST, socket.MSG_CMSG_CLOEXEC)
        fds += got
        return data

    def _take(self, data: bytes) -> bool:
        self._buffer += data
        if len(self._buffer) > MAX_LINE + _PIECE:
            raise MalformedError(f"a message of the hand-over has more than {MAX_LINE} bytes")
        return bool(data)


def check_peer(sock: socket.socket) -> Peer:
    """Return who is at the other end of ``sock``; UnauthorizedError for another user."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(raw)
    if uid != os.geteuid():
        raise UnauthorizedError(
            f"the other side of the hand-over is user {uid}, not {os.geteuid()}"
        )
    return Peer(pid, uid)


@contextmanager
def address(path: Path) -> Iterator[str]:
    """Yield a name of ``path`` that fits into a socket's address, however deep it lies."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    fd = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{path.name}"
    finally:
        os.close(fd)
