"""The byte plane as the rest of the node uses it: bind, start, look, close."""

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable

from cache_protocol.tickets import Keys
from cache_server.core.shares import LimitOf, no_limit
from cache_server.data.answers import Answers
from cache_server.data.connection import Connection
from cache_server.data.delivery import Delivery
from cache_server.data.dialect import Dialect
from cache_server.data.guests import Guests
from cache_server.data.homes import Home
from cache_server.data.limits import Limits
from cache_server.data.poller import Poller
from cache_server.data.prefetch import Prefetch
from cache_server.data.responder import Responder
from cache_server.data.speaker import Speaker
from cache_server.data.stats import Stats, Tally
from cache_server.data.tls import Session
from cache_server.data.tls_wire import TlsWire
from cache_server.data.wire import Wire, timeval
from cache_server.data.workers import Workers
from cache_server.handed import Back, Sealed
from cache_server.ports import Shelf

BACKLOG = 4096  # connections; a region that scales from zero connects all at once
CLOSE_MARGIN = 5.0  # seconds that a worker may take after its connection was cut
_DEFAULTS = Limits()

log = logging.getLogger(__name__)


class DataPlane:
    """Serves the files on a shelf to whoever holds a ticket."""

    def __init__(  # noqa: PLR0913  # four of them by name
        self,
        shelf: Shelf,
        keys: Callable[[], Keys],
        *,
        host: str,
        port: int,
        limits: Limits = _DEFAULTS,
        clock: Callable[[], float] = time.time,
        connections_of: LimitOf = no_limit,
        encryption: Callable[[], ssl.SSLContext] | None = None,
        dialect: Dialect | None = None,
    ) -> None:
        """Bind ``host`` and ``port`` (0 takes a free one); nothing is accepted before ``start``.

        Args:
            shelf: what there is to serve.
            keys: of this moment, for the tickets; see ``cache_protocol.tickets``. Never waits.
            host: name or address of the interface.
            port: TCP port.
            limits: bounds per peer and of all of them.
            clock: unix seconds, for tickets and the Date field.
            connections_of: how many connections at once a tenant may have.
            encryption: for a connection that begins now; None: this plane speaks plain text.
            dialect: another protocol, for the paths that it answers for.

        Raises:
            OSError: the address cannot be bound; the message names it.
        """
        self._limits = limits
        self._tally = Tally()
        self._workers = Workers(limits.active, name="data-worker")
        listener = _listen(host, port, limits)
        self.address: tuple[str, int] = listener.getsockname()[:2]
        self._prefetch = Prefetch()
        guests = Guests(connections_of)
        self._answers = answers = Answers(limits)
        delivery = Delivery(limits, self._prefetch)
        own = Responder(shelf, keys, answers, clock, delivery, guests, limits.soon)
        speaker = Speaker(own, dialect, limits, self._tally, clock, answers, delivery, guests)
        self._poller = Poller(
            listener, speaker, self._workers, limits, self._tally, guests, self._wires(encryption)
        )
        self._thread = threading.Thread(target=self._poller.run, name="data-poller", daemon=True)
        self._prefix = b"" if dialect is None else dialect.prefix.encode()
        self._closed = False
        self._closing = threading.Lock()  # no connection is taken over by a plane that closes

    def start(self) -> None:
        """Begin to accept."""
        self._prefetch.start()
        self._thread.start()

    def adopt(self, sock: socket.socket, unread: bytes, sealed: Sealed | None, back: Back) -> None:
        """Take over a connection that another port has accepted. Safe for threads; never waits.

        Args:
            sock: of the connection; this plane's from now on.
            unread: what has come over it and was not answered, unsealed.
            sealed: its encryption; None: it has none.
            back: takes it again, once it is asked for what is not of the dialect.

        Raises:
            OSError: the peer is gone; the caller closes the socket.
        """
        sock.setblocking(True)  # see ``wire``
        _bound(sock, self._limits)
        wire = Wire(sock, self._tally) if sealed is None else self._unsealing(sock, sealed)
        home = Home(self._prefix, back)
        connection = Connection(sock, self._tally, wire, unread=unread, home=home)
        with self._closing:
            if self._closed:
                sock.close()
            else:
                self._poller.adopt(connection)

    def _unsealing(self, sock: socket.socket, sealed: Sealed) -> Wire:
        return TlsWire(sock, self._tally, lambda: Session(sealed), ready=True)

    def close(self, grace: float = 0) -> None:
        """Stop accepting, let running answers end for ``grace`` seconds, then cut them.

        Returns when every thread has ended, at most one wait slice and a margin after the grace;
        a worker that hangs in a dead disk beyond that is reported and left behind.
        """
        with self._closing:
            if self._closed:
                return
            self._closed = True
        if self._thread.ident is None:  # never started
            self._poller.release()
            return
        self._prefetch.close()
        self._poller.close(grace)
        self._thread.join(grace + self._limits.wait_slice + CLOSE_MARGIN)
        if not self._workers.close(CLOSE_MARGIN if not self._thread.is_alive() else 0):
            log.error("%d answers did not end after they were cut", self._workers.busy)
        elif not self._thread.is_alive():
            self._poller.release()

    def _wires(
        self, encryption: Callable[[], ssl.SSLContext] | None
    ) -> Callable[[socket.socket], Wire]:
        if encryption is None:
            return lambda sock: Wire(sock, self._tally)
        return lambda sock: TlsWire(sock, self._tally, lambda: Session.begin(encryption()))

    @property
    def generations(self) -> set[str]:
        """The generations that bytes are sent of now."""
        return self._answers.generations

    @property
    def stats(self) -> Stats:
        """The counts at this moment."""
        return self._tally.snapshot(connections=self._poller.connections, active=self._workers.busy)


def _listen(host: str, port: int, limits: Limits) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    listener.setblocking(False)
    _bound(listener, limits)  # Linux hands it on to every accepted connection
    return listener


def _bound(sock: socket.socket, limits: Limits) -> None:
    """Set what connections are to be like; before the first byte is sent."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval(limits.send_time))
    # A host that loses power while it waits for a chunk is noticed within two minutes.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
