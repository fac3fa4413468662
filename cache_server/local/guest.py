"""One peer on the socket: it is greeted, asks for files, and is lent them one by one.

    a stranger   has ``STRANGER`` seconds to ask for something that it may read
    a reader     may be silent for as long as its lease lasts: it reads meanwhile

A question is answered once the answer before it was taken, so that never more than one descriptor
of a peer is on its way, and one that reads no answers holds nothing.
"""

import array
import fcntl
import logging
import os
import socket
import struct
import termios
import time

from cache_protocol.errors import BusyError, CacheError, MalformedError
from cache_protocol.local import HELLO, MAX_LINE, encode, lent, parse_question, refused
from cache_server.local.register import Register
from cache_server.local.rights import Right, Rights

STRANGER = 5.0  # seconds until the first file is lent
LINE_TIME = 5.0  # seconds from a question's first byte to its last, and for an answer to be taken
# Source: unix(7), struct ucred: pid, uid, gid, as seen from our own namespaces.
_UCRED = struct.Struct("iII")

log = logging.getLogger(__name__)


class Guest:
    """One connected peer. One thread serves it; ``cut`` may come from any."""

    def __init__(self, sock: socket.socket, rights: Rights, register: Register) -> None:
        """Speak over ``sock``, which belongs to this object from now on."""
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        self.pid, self.uid, _ = _UCRED.unpack(raw)
        self.tenant: str | None = None  # kept by ``Register``
        self.loan: tuple[str, str] | None = None  # the lease and generation of all that it has
        self._sock = sock
        self._rights = rights
        self._register = register
        self._buffer = bytearray()

    def serve(self) -> None:
        """Answer until the peer leaves, says what has no meaning, or is cut; never raises."""
        try:
            with self._sock:
                self._send(encode(HELLO))
                while (line := self._line()) is not None and self._answer(line):
                    continue
        except (OSError, CacheError) as error:
            log.debug("process %d of user %d was left: %s", self.pid, self.uid, error)
        finally:
            self._register.leave(self)

    def turn_away(self, why: CacheError) -> None:
        """Say no instead of hello, as far as the peer listens."""
        with self._sock:
            self._sock.settimeout(0)
            try:
                self._sock.send(refused(why))
            except OSError as error:
                log.debug("a refusal did not leave: %s", error)

    def cut(self) -> None:
        """End the connection; whoever has something of ours open learns that he is to close it."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            log.debug("a connection ended before it was cut: %s", error)

    def _line(self) -> bytes | None:
        """Return the next question; None when the peer has left.

        Raises:
            TimeoutError: it did not come in time.
            MalformedError: it does not end.
        """
        patience = None if self.loan else STRANGER
        deadline = time.monotonic() + (patience or 0.0)
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                raise MalformedError(f"a question of more than {MAX_LINE} bytes")
            left = None if patience is None else max(0.001, deadline - time.monotonic())
            self._sock.settimeout(left)
            data = self._sock.recv(MAX_LINE)
            if not data:
                return None
            if patience is None:
                patience, deadline = LINE_TIME, time.monotonic() + LINE_TIME
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _answer(self, line: bytes) -> bool:
        """Answer one question; return whether there may be another."""
        try:
            self._check_taken()
            question = parse_question(line)
            right = self._rights.of(question)
            self._check_same(loan := (question.lease, right.generation))
            self._register.admit(self, right.tenant)
            self.loan = loan  # before: whoever has it can be cut off
            self._lend(right)
        except CacheError as error:
            self._send(refused(error))
            return self.loan is not None  # who never had a right gets one try a connection
        return True

    def _check_same(self, loan: tuple[str, str]) -> None:
        # What was lent under the first lease would not end with it any more.
        if self.loan not in (None, loan):
            raise MalformedError("a connection is for one lease: connect once more for another")

    def _lend(self, right: Right) -> None:
        fd = right.file.lend()
        if fd is None:
            self._send(lent(None))
            return
        try:
            self._send(lent(right.file.size), fd)
        finally:
            os.close(fd)

    def _check_taken(self) -> None:
        unread = array.array("i", [0])
        fcntl.ioctl(self._sock, termios.TIOCOUTQ, unread)
        if unread[0]:
            raise BusyError("one question at a time: the last answer was not read yet")

    def _send(self, data: bytes, fd: int | None = None) -> None:
        self._sock.settimeout(LINE_TIME)
        if fd is not None:
            data = data[socket.send_fds(self._sock, [data], [fd]) :]
        self._sock.sendall(data)
