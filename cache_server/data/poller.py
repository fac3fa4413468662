"""The one thread that accepts, waits and closes: who is idle, who works, who leaves.

    accept, adopt ──> PARKED ──request whole──> at work ──Fate──> PARKED | DRAINING | closed | home
                        ├──not a request, too slow, too many──> DRAINING ──> closed
                        └──part of a handshake──> Handshakes ──Fate──> PARKED | closed

Where it grows crowded, of those that have not shown who they are the one that came first goes, be
it in line for its handshake; and who is DRAINING takes nobody's place. So a crowd that only waits
keeps no replica out.

All state of this file belongs to the poller thread. Workers reach it through ``_returned``, and
connections of another port through ``_adopted``, with an eventfd. A peer that only waits, or sends
its head byte by byte, costs no thread.
"""

import errno
import logging
import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from cache_protocol.errors import BusyError, MalformedError
from cache_server.data.connection import Connection, Fate
from cache_server.data.guests import Guests
from cache_server.data.handshakes import Handshakes
from cache_server.data.homes import HomewardError
from cache_server.data.limits import Limits
from cache_server.data.request import RefusedError, Request
from cache_server.data.speaker import Speaker
from cache_server.data.stats import Tally
from cache_server.data.strangers import Strangers
from cache_server.data.wire import CutError, ReaderLeftError, Wire
from cache_server.data.workers import Workers

ACCEPT_BATCH = 64  # connections accepted before others get their turn
# Out of descriptors or memory: the connection stays in the backlog, and would be reported for ever.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}

log = logging.getLogger(__name__)


class Poller:
    """Owns the listener and every connection that no worker owns."""

    def __init__(  # noqa: PLR0913, PLR0917 - one plane makes one of these
        self,
        listener: socket.socket,
        speaker: Speaker,
        workers: Workers,
        limits: Limits,
        tally: Tally,
        guests: Guests,
        make_wire: Callable[[socket.socket], Wire],
    ) -> None:
        self._listener = listener
        self._speaker = speaker
        self._workers = workers
        self._limits = limits
        self._tally = tally
        self._guests = guests
        self._make_wire = make_wire
        self._handshakes = Handshakes(limits.handshakes, self._shake)
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._parked: dict[int, Connection] = {}
        self._strangers = Strangers()  # parked, or at work with their handshakes
        self._draining: dict[int, Connection] = {}  # parked, told that it ends; the oldest first
        self._at_work: set[Connection] = set()
        self._returned: deque[tuple[Connection, Fate]] = deque()
        self._adopted: deque[Connection] = deque()
        self._accept_from = 0.0  # monotonic seconds; no accept before
        self._sweep_at = 0.0  # monotonic seconds
        self._listening = False
        self._closing = threading.Event()
        self._cut_at = 0.0  # monotonic seconds, when closing
        self._tick = min(1.0, limits.head_time / 4, limits.idle_time / 4, limits.drain_time / 4)

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._parked) + len(self._at_work)

    @property
    def _kept(self) -> int:
        """How many of them take a place: who only reads that it was refused takes nobody's."""
        return self.connections - len(self._draining)

    def adopt(self, connection: Connection) -> None:
        """Take over a connection that another port of the node has accepted; from any thread.

        Not after ``close``.
        """
        self._adopted.append(connection)
        os.eventfd_write(self._wake, 1)

    def close(self, grace: float) -> None:
        """Have ``run`` return: idle peers now, running answers after at most ``grace`` seconds."""
        self._cut_at = time.monotonic() + grace
        self._closing.set()
        os.eventfd_write(self._wake, 1)

    def run(self) -> None:
        """Serve until ``close``."""
        self._epoll.register(self._wake, select.EPOLLIN)
        while not self._closing.is_set():
            self._turn()
        self._finish()
        self._handshakes.close(self._tick)

    def release(self) -> None:
        """Close the descriptors of the poller itself; only when ``run`` does not run.

        Not by ``run``: whoever calls ``close`` may be about to write to one of them.
        """
        self._listener.close()
        while self._adopted:
            self._adopted.popleft().sock.close()
        self._epoll.close()
        os.close(self._wake)

    def _turn(self) -> None:
        self._watch_listener()
        for fd, _ in self._epoll.poll(self._tick):
            self._try(partial(self._handle, fd), partial(self._drop, fd))
        self._end_late_ones()

    def _try(self, step: Callable[[], None], end: Callable[[], None]) -> None:
        """Run ``step`` of a connection, or ``end`` it: one peer must not be the end of others."""
        try:
            step()
        except Exception:
            log.exception("the poller failed on a connection")
            self._tally.refused("unexpected")
            end()

    def _handle(self, fd: int) -> None:
        if fd == self._wake:
            self._hear()
        elif fd == self._listener.fileno():
            self._accept()
        elif (connection := self._parked.get(fd)) is not None:
            self._read(connection)

    # -- connections come -------------------------------------------------------------------

    def _watch_listener(self) -> None:
        if not self._listening and time.monotonic() >= self._accept_from:
            self._epoll.register(self._listener, select.EPOLLIN)
            self._listening = True

    def _accept(self) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._accept_failed(error)
                return
            self._welcome(Connection(sock, self._tally, self._make_wire(sock)))

    def _accept_failed(self, error: OSError) -> None:
        if error.errno in _EXHAUSTED:
            log.warning("cannot accept connections: %s", error)
            self._tally.refused("accept")
            self._epoll.unregister(self._listener)
            self._listening = False
            self._accept_from = time.monotonic() + self._limits.accept_pause
        # Anything else is the fate of one connection that ended in the backlog: accept(2).

    def _welcome(self, connection: Connection) -> None:
        if self._kept < self._limits.connections or self._send_a_stranger_away():
            self._park(connection, self._patience(connection))
        else:
            self._park(connection, self._limits.drain_time)
            self._refuse(connection, _too_many(f"{self._limits.connections} connections"))
        if self.connections > self._limits.connections + self._limits.refusing:
            self._close(next(iter(self._draining.values())))

    def _send_a_stranger_away(self) -> bool:
        """Make room for somebody who may have something to ask; whether there was anybody."""
        may_go = (each for each in self._strangers if not self._handshakes.works_on(each))
        stranger = next(may_go, None)
        if stranger is None:
            return False
        self._tally.refused("crowded")
        if stranger in self._at_work:
            self._at_work.remove(stranger)
            self._handshakes.leave(stranger)
        self._close(stranger)
        return True

    def _patience(self, connection: Connection) -> float:
        if not connection.wire.ready:
            return self._limits.handshake_time
        return self._limits.head_time if connection.mid_head else self._limits.idle_time

    # -- connections wait -------------------------------------------------------------------

    def _park(self, connection: Connection, seconds: float) -> None:
        connection.deadline = time.monotonic() + seconds
        self._parked[connection.sock.fileno()] = connection
        if not connection.wire.known:
            self._strangers.add(connection)
        self._epoll.register(connection.sock, select.EPOLLIN | select.EPOLLRDHUP)

    def _read(self, connection: Connection) -> None:
        if connection.draining:
            if not connection.discard():
                self._close(connection)
            return
        if not connection.wire.ready:
            self._take_off(connection)
            self._strangers.add(connection)  # in line it may have to go as well
            self._handshakes.ask(connection)
            return
        begun = connection.mid_head
        try:
            request = connection.receive()
        except RefusedError as refused:
            self._refuse(connection, refused)
        except ReaderLeftError:
            self._close(connection)
        except HomewardError:
            self._unpark(connection)
            self._epoll.unregister(connection.sock)
            self._send_home(connection)
        else:
            if request is not None:
                self._hand_over(connection, request)
            elif not begun and connection.mid_head:
                connection.deadline = time.monotonic() + self._limits.head_time

    def _refuse(
        self, connection: Connection, refused: RefusedError, request: Request | None = None
    ) -> None:
        """Answer without a thread: if the peer's window is full it does without the words.

        They are those of ``request``, or of what has come of one.
        """
        head_only = request is not None and request.method == "HEAD"
        foreign = (
            connection.is_foreign(self._speaker)
            if request is None
            else self._speaker.is_of_dialect(request.path)
        )
        try:
            problem = self._speaker.problem(refused, foreign=foreign, head_only=head_only)
            connection.wire.send_at_once(problem)
        except (OSError, CutError) as error:
            log.debug("a refusal did not leave: %s", error)
        self._drain(connection)

    def _drain(self, connection: Connection) -> None:
        # Closing while bytes are unread resets the connection and destroys the answer on its way.
        connection.draining = True
        self._strangers.discard(connection)
        self._draining[connection.sock.fileno()] = connection
        connection.deadline = time.monotonic() + self._limits.drain_time
        try:
            connection.wire.end()
            connection.sock.shutdown(socket.SHUT_WR)
        except (OSError, CutError):  # it is gone already
            self._close(connection)

    def _end_late_ones(self) -> None:
        now = time.monotonic()
        if now < self._sweep_at:
            return
        self._sweep_at = now + self._tick  # not on every turn: it looks at every connection
        for connection in [c for c in self._parked.values() if c.deadline <= now]:
            if connection.mid_head and not connection.draining:
                self._tally.refused("slow-head")
                detail = f"the head was not whole within {self._limits.head_time:.0f} s"
                self._refuse(connection, RefusedError(408, MalformedError(detail)))
            else:
                if not connection.wire.ready and not connection.draining:
                    self._tally.refused("handshake")
                self._close(connection)

    # -- connections work -------------------------------------------------------------------

    def _hand_over(self, connection: Connection, request: Request) -> None:
        if not connection.wire.known and self._strangers_have_their_share():
            what = f"{self._limits.strangers} answers to who has shown no ticket or key yet"
            self._refuse(connection, _too_many(what), request)
        elif self._workers.give(partial(self._work, connection, request)):
            self._take_off(connection)
        else:
            self._refuse(connection, _too_many(f"{self._limits.active} answers"), request)

    def _strangers_have_their_share(self) -> bool:
        share = self._limits.strangers
        if self._workers.busy < share:  # known without a look at each
            return False
        return sum(c.wire.ready and not c.wire.known for c in self._at_work) >= share

    def _take_off(self, connection: Connection) -> None:
        """Give up a connection to a worker, until it comes back."""
        self._at_work.add(connection)
        self._epoll.unregister(connection.sock)
        self._unpark(connection)

    def _work(self, connection: Connection, request: Request) -> None:
        """Run by a worker."""
        self._return(connection, connection.serve(request, self._speaker, self._closing.is_set))

    def _shake(self, connection: Connection) -> None:
        """Run by a worker."""
        self._return(connection, connection.shake(self._speaker))

    def _return(self, connection: Connection, fate: Fate) -> None:
        self._returned.append((connection, fate))
        os.eventfd_write(self._wake, 1)

    def _hear(self) -> None:
        """Settle who came back until now; for who does so meanwhile the wake-up has been written.

        Not until nobody is left: strangers that pipeline come back as fast as they are settled.
        """
        os.eventfd_read(self._wake)
        for _ in range(len(self._returned)):
            connection, fate = self._returned.popleft()
            self._try(partial(self._settle, connection, fate), partial(self._close, connection))
        for _ in range(len(self._adopted)):
            connection = self._adopted.popleft()
            self._try(partial(self._take_in, connection), partial(self._close, connection))

    def _take_in(self, connection: Connection) -> None:
        self._welcome(connection)
        # Its request has come already: nothing more need come to wake us.
        if connection.sock.fileno() in self._parked and not connection.draining:
            self._read(connection)

    def _settle(self, connection: Connection, fate: Fate) -> None:
        self._at_work.discard(connection)
        self._strangers.discard(connection)
        self._handshakes.settle(connection)
        if fate is Fate.CLOSE:
            self._end(connection)
        elif fate is Fate.HOME and not self._closing.is_set():
            self._send_home(connection)
        elif fate is Fate.SHAKE:
            self._park(connection, connection.deadline - time.monotonic())
        else:
            self._settle_ready(connection, fate)

    def _settle_ready(self, connection: Connection, fate: Fate) -> None:
        self._park(connection, self._patience(connection))
        if fate is Fate.DRAIN:
            self._drain(connection)
        elif fate is Fate.READ and not self._closing.is_set():
            self._read(connection)

    # -- connections end --------------------------------------------------------------------

    def _close(self, connection: Connection) -> None:
        self._unpark(connection)
        self._end(connection)

    def _end(self, connection: Connection) -> None:
        self._guests.leave(connection.wire)
        connection.sock.close()  # leaves the epoll set by itself

    def _send_home(self, connection: Connection) -> None:
        self._guests.leave(connection.wire)
        connection.go_home()

    def _unpark(self, connection: Connection) -> None:
        fd = connection.sock.fileno()
        self._strangers.discard(connection)
        self._draining.pop(fd, None)
        self._parked.pop(fd, None)

    def _drop(self, fd: int) -> None:
        if (connection := self._parked.get(fd)) is not None:
            self._close(connection)

    def _finish(self) -> None:
        """End every connection: parked ones now, those at work when done or cut."""
        if self._listening:
            self._epoll.unregister(self._listener)
        self._listener.close()
        for connection in self._handshakes.abandon():
            self._settle(connection, Fate.CLOSE)
        cut = False
        while True:
            self._end_parked()
            if not self._at_work:
                return
            left = self._cut_at - time.monotonic()
            if not cut and left <= 0:
                cut = True
                self._cut()
            if any(fd == self._wake for fd, _ in self._epoll.poll(self._tick if cut else left)):
                self._hear()

    def _end_parked(self) -> None:
        for connection in list(self._parked.values()):
            self._close(connection)

    def _cut(self) -> None:
        for connection in self._at_work:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)  # wakes a thread that sends to it
            except OSError as error:
                log.debug("a connection ended before it was cut: %s", error)


def _too_many(what: str) -> RefusedError:
    return RefusedError(429, BusyError(f"the node has {what} at once"), {"Retry-After": "1"})
