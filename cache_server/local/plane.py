"""The socket as the rest of the node uses it: bind, start, look after, close.

    accept ──> Guest, a thread each ──> leaves, or its lease ends and ``look`` cuts it off

Bytes do not pass here: a peer is lent descriptors, and reads the page cache or the disk itself.
"""

import logging
import socket
import threading
from pathlib import Path

from cache_protocol.errors import BusyError
from cache_protocol.local import Offer, host_name
from cache_server.data.workers import Workers
from cache_server.local.guest import Guest
from cache_server.local.place import listen
from cache_server.local.register import GUESTS, Register
from cache_server.local.rights import Rights

ACCEPT_PAUSE = 0.5  # seconds after the process ran out of descriptors
CLOSE_MARGIN = 1.0  # seconds that a thread may take after its connection was cut
NAME = "local.sock"  # in ROOT
OFF = "off"
FOR_US, FOR_ALL = 0o600, 0o666  # see ``place`` for why

log = logging.getLogger(__name__)


class LocalPlane:
    """Lends files to processes of this host. Close it in every case."""

    def __init__(self, path: Path, mode: int, rights: Rights, register: Register) -> None:
        """Bind ``path``; nobody is let in before ``start``. OSError as ``place.listen``."""
        self._path = path.absolute()
        self._rights = rights
        self._register = register
        self._workers = Workers(GUESTS, name="local-guest")
        self._listener = listen(self._path, mode)
        self._inode = self._path.lstat().st_ino
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="local-accept", daemon=True)
        self.offer = Offer(str(self._path), host_name(_boot_id()))

    def start(self) -> None:
        """Begin to let peers in."""
        self._thread.start()

    def look(self) -> None:
        """Cut off whoever has a file whose lease has ended. A chore."""
        for guest in self._register.guests:
            if guest.loan is not None and not self._rights.holds(*guest.loan):
                guest.cut()

    def close(self) -> None:
        """Let nobody in any more, and cut off who is there; a second time does nothing."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._unlink()
        if self._thread.ident is not None:
            self._listener.shutdown(socket.SHUT_RDWR)  # ends ``accept``
            self._thread.join()
        self._listener.close()
        for guest in self._register.guests:
            guest.cut()
        if not self._workers.close(CLOSE_MARGIN):
            log.error("%d connections of this host did not end", self._workers.busy)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                if not self._closing.is_set():
                    log.warning("cannot let a process of this host in: %s", error)
                    self._closing.wait(ACCEPT_PAUSE)
            else:
                self._welcome(sock)

    def _welcome(self, sock: socket.socket) -> None:
        guest = Guest(sock, self._rights, self._register)
        try:
            self._register.enter(guest)
        except BusyError as error:
            guest.turn_away(error)
            return
        if not self._workers.give(guest.serve):
            self._register.leave(guest)
            guest.turn_away(BusyError("no thread is left for another process of this host"))

    def _unlink(self) -> None:
        """Remove the socket, unless somebody has put another in its place."""
        try:
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        except OSError as error:
            log.debug("the socket was gone: %s", error)


def open_plane(
    where: str | None, root: Path, rights: Rights, register: Register
) -> LocalPlane | None:
    """Return a plane at ``where``, None where there is to be none ("off") or can be none.

    Args:
        where: a path that somebody chose; None: in ``root``.
        root: the node's own directory.
        rights: who is lent what.
        register: who is there.

    Raises:
        OSError: the path that was chosen cannot be had.
    """
    if where == OFF:
        return None
    if where is not None:
        return LocalPlane(Path(where), FOR_ALL, rights, register)
    try:
        return LocalPlane(root / NAME, FOR_US, rights, register)
    except OSError as error:  # a file system without sockets: replicas read over the network
        log.warning("replicas on this host read over the network: %s: %s", root / NAME, error)
        return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text()
