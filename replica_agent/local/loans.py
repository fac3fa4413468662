"""One connection to the node's socket: descriptors come, and stay good as long as it does.

Nothing is said before the other side has greeted us as a node does, so that a socket of something
else hears no ticket. What it lends is trusted with nothing: it must be a plain file of the right
size, and its bytes count once their digests match.
"""

import os
import select
import socket
import stat
from pathlib import Path

from cache_protocol.errors import CacheError
from cache_protocol.local import MAX_LINE, Question, ask, check_hello, parse_answer
from replica_agent.handover.lines import address

PATIENCE = 2.0  # seconds for one answer: the network is there for what a node cannot lend at once


class LocalError(Exception):
    """Nothing more can be read here; the text says why."""


class Loans:
    """What one lane has been lent. Not safe for threads. Close it in every case."""

    def __init__(self, path: Path) -> None:
        """Connect to the node's socket at ``path``.

        Raises:
            LocalError: there is none, we may not, or it is somebody else's.
        """
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._sock.settimeout(PATIENCE)
        self._buffer = b""
        try:
            with address(path) as name:
                self._sock.connect(name)
            check_hello(self._line([]))
        except (OSError, CacheError, LocalError) as error:
            self._sock.close()
            raise LocalError(f"the node's socket {path}: {_words(error)}") from error

    def borrow(self, question: Question, size: int) -> int | None:
        """Return a descriptor of the file, which the caller closes; None: it is not whole yet.

        Raises:
            LocalError: the node lends nothing, or something else than ``size`` bytes of a file.
        """
        held: list[int] = []
        try:
            self._sock.sendall(ask(question))
            said = parse_answer(self._line(held))
            if said is None:
                return None
            if not held or said != size or not _is_file(held[0], size):
                raise LocalError(f"the node lends something else than a file of {size} bytes")
            return held.pop()
        except (OSError, CacheError) as error:
            raise LocalError(f"the node lends nothing: {_words(error)}") from error
        finally:
            for fd in held:
                os.close(fd)

    @property
    def ended(self) -> bool:
        """Whether the node has taken back what it lent: it hangs up, or speaks unasked."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN | select.POLLRDHUP)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def _line(self, fds: list[int]) -> bytes:
        while b"\n" not in self._buffer:
            flags = socket.MSG_CMSG_CLOEXEC
            data, got, _, _ = socket.recv_fds(self._sock, MAX_LINE, 1, flags)
            fds += got
            self._buffer += data
            if not data or len(self._buffer) > MAX_LINE:
                raise LocalError("it hung up" if not data else "it does not end its line")
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line


def _is_file(fd: int, size: int) -> bool:
    found = os.fstat(fd)
    return stat.S_ISREG(found.st_mode) and found.st_size == size


def _words(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error) or repr(error)
