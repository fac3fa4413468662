"""One peer: its requests in order, pipelined ones too, and what becomes of it after them.

    poller ──receive()──> request whole ──> worker: serve() ──> Fate ──> poller
    encrypted, before that:  something came ──> worker: shake() ──> Fate ──> poller

A connection has one owner at a time, the poller or a worker, so nothing here takes a lock. Only
the poller opens and closes descriptors: a number is never closed under a thread that uses it.
"""

import logging
import select
import socket
from collections.abc import Callable
from enum import Enum, auto
from itertools import count

from cache_protocol.errors import CacheError, MalformedError
from cache_server.core.tracing import request_id
from cache_server.data.homes import Home, HomewardError
from cache_server.data.request import RefusedError, Request, parse_request
from cache_server.data.speaker import Speaker
from cache_server.data.stats import Tally
from cache_server.data.tls import NotTlsError
from cache_server.data.wire import READ_SIZE, CutError, ReaderLeftError, Wire

LINGER = 2  # ms that a worker stays for the next request: two thread switches are saved

_numbers = count()  # of connections, in the order in which they came
log = logging.getLogger(__name__)


class Fate(Enum):
    """What the owner of a connection wants done with it."""

    PARK = auto()  # wait for the next request
    SHAKE = auto()  # the handshake is not over: wait for more of it
    READ = auto()  # a further request may have come: with a handshake's end, or behind another
    HOME = auto()  # the next request is for the port that the connection came from
    DRAIN = auto()  # an answer says that this is the end: let the peer read it, then close
    CLOSE = auto()


class Connection:
    """The state of one peer between its requests."""

    def __init__(
        self,
        sock: socket.socket,
        tally: Tally,
        wire: Wire | None = None,
        *,
        unread: bytes = b"",
        home: Home | None = None,
    ) -> None:
        self.sock = sock
        self.number = next(_numbers)
        self.wire = Wire(sock, tally) if wire is None else wire
        self.deadline = 0.0  # monotonic seconds; the poller ends what waits longer
        self.draining = False
        self._tally = tally
        self._unread = bytearray(unread)
        self._home = home

    @property
    def mid_head(self) -> bool:
        """Whether part of a request has come."""
        return bool(self._unread)

    def is_foreign(self, speaker: Speaker) -> bool:
        """Whether what has come is the begin of a request of another protocol."""
        return speaker.is_foreign(self._unread)

    def receive(self) -> Request | None:
        """Take what has come, without waiting; return the next request if it is whole.

        Raises:
            RefusedError: what came cannot become a request.
            ReaderLeftError: the peer has closed.
            HomewardError: the request is not for us; ``go_home``.
        """
        request = self._take()
        if request is not None or not self._read():
            return request
        return self._take()

    def _take(self) -> Request | None:
        if self._home is not None and self._home.calls(self._unread):
            raise HomewardError
        parsed = parse_request(self._unread)
        if parsed is None:
            return None
        request, size = parsed
        del self._unread[:size]
        return request

    def _read(self) -> bool:
        data = self.wire.receive()
        self._unread += data or b""
        return data is not None

    def go_home(self) -> None:
        """Give the connection back, with what was not answered; it is nobody's here any more."""
        if self._home is None:
            raise RuntimeError("a connection without a home was sent there")
        self._home.take_back(self.sock, bytes(self._unread), self.wire.sealed)

    def discard(self) -> bool:
        """Throw away what the peer still sends; return whether it may send more."""
        try:
            return bool(self.sock.recv(READ_SIZE, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:  # reset: the peer is done with us as well
            return False

    def shake(self, speaker: Speaker) -> Fate:
        """Go on with the handshake; never raises."""
        try:
            return Fate.READ if self.wire.shake() else Fate.SHAKE
        except NotTlsError:
            return self._refuse_plain(speaker)
        except CutError as error:
            log.debug("no handshake: %s", error)
        except Exception:
            log.exception("a handshake failed on a bug")
        self._tally.refused("handshake")
        return Fate.CLOSE

    def _refuse_plain(self, speaker: Speaker) -> Fate:
        """Answer as plainly as was asked."""
        wrong = MalformedError("this port speaks TLS: ask with https")
        try:
            problem = speaker.problem(RefusedError(400, wrong))
            self.sock.send(problem, socket.MSG_DONTWAIT)
        except OSError as error:
            log.debug("a refusal did not leave: %s", error)
            return Fate.CLOSE
        return Fate.DRAIN

    def serve(self, request: Request, speaker: Speaker, closing: Callable[[], bool]) -> Fate:
        """Answer ``request``, and further ones of a peer that is no stranger; never raises.

        A stranger gets a worker for one answer at a time: it could keep it from the others, and
        nobody who is at work can be sent away.
        """
        try:
            return self._serve(request, speaker, closing)
        except CutError as error:
            self._tally.refused("closing" if closing() else error.reason)
            log.debug("an answer was cut: %s", error)
        except Exception:
            # The last line of defence: one request must not take a worker down.
            log.exception("an answer failed on a bug or a broken disk")
            self._tally.refused("unexpected")
            return self._apologise(speaker)
        return Fate.CLOSE

    def _serve(self, request: Request, speaker: Speaker, closing: Callable[[], bool]) -> Fate:
        following: Request | None = request
        while following is not None:
            keep_alive = following.keep_alive and not closing()
            speaker.respond(following, self.wire, keep_alive=keep_alive)
            if not keep_alive:
                return Fate.DRAIN
            request_id.set(None)  # what comes may be no request, and has no share in this one's
            if not self.wire.known:
                return Fate.READ
            try:
                following = self._next()
            except RefusedError as refused:
                self.wire.foreign, self.wire.head_only = self.is_foreign(speaker), False
                speaker.refuse(refused, self.wire, keep_alive=False)
                return Fate.DRAIN
            except HomewardError:
                return Fate.HOME
            except ReaderLeftError:  # between two requests: the ordinary end of a connection
                return Fate.CLOSE
        return Fate.PARK

    def _next(self) -> Request | None:
        request = self.receive()
        if request is None and self._readable_soon():
            request = self.receive()
        return request

    def _readable_soon(self) -> bool:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(LINGER))

    def _apologise(self, speaker: Speaker) -> Fate:
        if self.wire.begun:
            return Fate.CLOSE
        broken = RefusedError(500, CacheError("the node failed; its log says why"))
        try:
            speaker.refuse(broken, self.wire, keep_alive=False)
        except (CutError, OSError) as error:  # whatever it is: the poller must get it back
            log.debug("nobody heard the apology: %s", error)
            self._tally.refused(error.reason if isinstance(error, CutError) else "unexpected")
            return Fate.CLOSE
        return Fate.DRAIN
