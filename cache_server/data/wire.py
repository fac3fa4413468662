"""How the bytes of an answer leave, and those of a request come: one peer's socket.

Sockets block, with SO_SNDTIMEO against a reader that takes nothing: a Python socket timeout would
make the descriptor non-blocking, and ``os.sendfile`` fail on a full buffer. An encrypted wire has
these same methods and copies in ``send_file``: see ``tls_wire``.
"""

import errno
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from cache_protocol.ranges import Span
from cache_server.data.read_ahead import ReadAhead
from cache_server.data.stats import Tally
from cache_server.handed import Sealed

READ_SIZE = 16 * 2**10  # bytes; one read takes a whole head, or about 40 pipelined requests
STEP = 8 * 2**20  # bytes per sendfile call, so that read-ahead and counters keep up
_PEER_LEFT = {
    errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNABORTED,
    # What routers say of a host that is gone: none of it is the disk's.
    errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN,
}  # fmt: skip


class CutError(Exception):
    """The answer cannot go on, and the connection with it; ``reason`` is a word of ``Stats``."""

    reason = "unexpected"


class ReaderLeftError(CutError):
    """The peer closed, or its host is gone."""

    reason = "reader-left"


class StalledError(CutError):
    """The peer took nothing for the send time."""

    reason = "stalled"


class TruncatedError(CutError):
    """The file on disk ends before the bytes that were announced."""

    reason = "truncated"


class DiskFailedError(CutError):
    """The disk did not give the byte at ``at``; the cause says why."""

    reason = "disk"

    def __init__(self, at: int, error: OSError) -> None:
        super().__init__(f"byte {at}: {error.strerror}")
        self.at = at


class Wire:
    """Sends to one peer; counts what left."""

    def __init__(self, sock: socket.socket, tally: Tally) -> None:
        self._sock = sock
        self._tally = tally
        self.begun = False  # something of the present answer may have left
        self.foreign = False  # the present request is one of a dialect; set by ``Speaker``
        self.head_only = False  # the present request is a HEAD; set by ``Speaker``
        self.known = False  # the peer has shown who it is; set by ``Guests``
        self.tenant: str | None = None  # for whom it counts, if for anybody; set by ``Guests``
        self._disk_since: float | None = None  # monotonic seconds, while the disk is asked

    @property
    def peer(self) -> str:
        """The address of the peer; ReaderLeftError if it is gone."""
        try:
            return str(self._sock.getpeername()[0])
        except OSError as error:
            raise ReaderLeftError(str(error)) from error

    @property
    def ready(self) -> bool:
        """Whether requests can be exchanged; an encrypted wire needs a handshake before."""
        return True

    @property
    def sealed(self) -> Sealed | None:
        """What is needed to go on with the encryption elsewhere; None where there is none."""
        return None

    def shake(self) -> bool:
        """Go on with the handshake, without waiting; return whether it is over."""
        return True

    def receive(self) -> bytes | None:
        """Return what has come, without waiting; None if there is nothing to read.

        Raises:
            ReaderLeftError: the peer has closed.
        """
        try:
            data = self._sock.recv(READ_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            raise ReaderLeftError(str(error)) from error
        if not data:
            raise ReaderLeftError("the peer closed")
        return data

    def send_at_once(self, data: bytes) -> None:
        """Send ``data`` without waiting until the peer's window takes it.

        Raises:
            CutError: it does not take all of it now.
        """
        self.begun = True
        with sending():
            self._sock.sendall(data, socket.MSG_DONTWAIT)

    def end(self) -> None:
        """Say that nothing more comes, where there is a way to; raises as ``send_at_once``."""

    def send(self, data: bytes | memoryview, *, more: bool = False) -> None:
        """Send all of ``data``; with ``more`` the kernel keeps it back to fill a packet."""
        self.begun = True
        with sending():
            self._sock.sendall(data, socket.MSG_MORE if more else 0)

    def send_body(self, data: bytes | memoryview) -> None:
        """Send all of ``data`` and count it."""
        self.send(data)
        self._tally.sent(len(data))

    def send_file(self, fd: int, span: Span) -> None:
        """Send the bytes of ``span`` of an open file.

        Raises:
            TruncatedError: the file is shorter than ``span``.
            DiskFailedError: the disk failed.
        """
        at = span.begin
        ahead = ReadAhead(fd, span)
        while at < span.end:
            ahead.advance(at)
            with self.at_the_disk(), sending(at):
                sent = os.sendfile(self._sock.fileno(), fd, at, min(STEP, span.end - at))
            if sent == 0:
                raise TruncatedError(f"the file ends at {at} of {span.end} bytes")
            at += sent
            self._tally.sent(sent)

    @contextmanager
    def at_the_disk(self) -> Iterator[None]:
        """Let it be known for the length of the block that the disk is waited for."""
        self._disk_since = time.monotonic()
        try:
            yield
        finally:
            self._disk_since = None

    def hangs_since(self, limit: float) -> bool:
        """Whether the disk has been waited for since before ``limit``, in monotonic seconds.

        ``sendfile`` waits for the reader as well: then the socket takes nothing.
        """
        since = self._disk_since
        return since is not None and since < limit and self._takes_bytes()

    def _takes_bytes(self) -> bool:
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        return any(events & select.POLLOUT for _, events in poll.poll(0))

    def reader_left(self, within: float = 0) -> bool:
        """Return whether the peer has closed, or does so ``within`` seconds.

        A half-closed peer counts, as it does for nginx.
        """
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        return bool(poll.poll(within * 1000))


@contextmanager
def sending(at: int | None = None) -> Iterator[None]:
    """Map what goes wrong inside; ``at`` says which byte of a file is being read, if any is."""
    try:
        yield
    except OSError as error:
        _raise_cut(error, at)


def _raise_cut(error: OSError, at: int | None) -> NoReturn:
    if error.errno in _PEER_LEFT:
        raise ReaderLeftError(str(error)) from error
    if error.errno == errno.EAGAIN:  # SO_SNDTIMEO ran out; EINTR is retried by Python, PEP 475
        raise StalledError("the reader takes nothing") from error
    if at is not None:
        raise DiskFailedError(at, error) from error
    raise error


def timeval(seconds: float) -> bytes:
    """Return ``seconds`` as SO_SNDTIMEO takes them."""
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
