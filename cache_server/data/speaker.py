"""Each request, answered in the words that it was asked in: the plane's own, or another protocol's.

What is alike for both stands here: counting, the id in the log, and that whatever is refused before
the first byte becomes a status. Which words: the path says, see ``dialect``.
"""

from collections.abc import Callable
from dataclasses import dataclass

from cache_protocol.request_ids import accepted
from cache_server.core.first_line import leads_under
from cache_server.core.tracing import request_id
from cache_server.data.answer import http_date, problem_answer
from cache_server.data.answers import Answers
from cache_server.data.delivery import Delivery
from cache_server.data.dialect import Dialect, Extent, Reply, spoken
from cache_server.data.guests import Guests
from cache_server.data.limits import Limits
from cache_server.data.request import RefusedError, Request
from cache_server.data.responder import Responder
from cache_server.data.stats import Tally
from cache_server.data.wire import Wire


@dataclass(frozen=True, slots=True)
class Speaker:
    """Answers requests of replicas, and of whoever speaks the dialect. Safe for threads."""

    own: Responder
    dialect: Dialect | None
    limits: Limits
    tally: Tally
    clock: Callable[[], float]
    answers: Answers
    delivery: Delivery
    guests: Guests

    def is_foreign(self, began: bytes | bytearray) -> bool:
        """Whether a request that began so is one of the dialect."""
        dialect = self.dialect
        return dialect is not None and leads_under(dialect.prefix.encode(), began) is True

    def is_of_dialect(self, path: str) -> bool:
        """Whether a request for ``path`` is one of the dialect."""
        dialect = self.dialect
        return dialect is not None and f"{path}/".startswith(f"{dialect.prefix}/")

    def respond(self, request: Request, wire: Wire, *, keep_alive: bool) -> None:
        """Answer ``request`` to its last byte.

        Raises:
            CutError: the answer has begun and cannot be finished.
        """
        wire.begun = False
        wire.foreign = self.is_of_dialect(request.path)
        wire.head_only = request.method == "HEAD"
        self.tally.request()
        # Whatever is logged about it, in this thread, is about that reader's start.
        request_id.set(accepted(request.fields.get("x-request-id")))
        try:
            if wire.foreign:
                self._translate(request, wire, keep_alive=keep_alive)
            else:
                self.own.answer(request, wire, keep_alive=keep_alive)
        except RefusedError as refused:
            self.refuse(refused, wire, keep_alive=keep_alive)

    def refuse(self, refused: RefusedError, wire: Wire, *, keep_alive: bool) -> None:
        """Count ``refused`` and send it, as the present request wants it."""
        foreign, head_only = wire.foreign, wire.head_only
        words = self.problem(refused, foreign=foreign, keep_alive=keep_alive, head_only=head_only)
        _say_no(words, wire)

    def problem(
        self,
        refused: RefusedError,
        *,
        foreign: bool = False,
        keep_alive: bool = False,
        head_only: bool = False,
    ) -> bytes:
        """Count ``refused`` and return its whole answer, in the words of who is refused."""
        self.tally.refused(str(refused.status))
        now = self.clock()
        if self.dialect is None or not foreign:
            return problem_answer(refused, now=now, keep_alive=keep_alive, head_only=head_only)
        reply = self.dialect.refuse(refused)
        head = spoken(reply, http_date(now), keep_alive=keep_alive)
        return head if head_only or not isinstance(reply.body, bytes) else head + reply.body

    def _translate(self, request: Request, wire: Wire, *, keep_alive: bool) -> None:
        reply = self._asked_of_dialect(request, wire)
        if reply.known:
            self.guests.admit(wire, reply.tenant)
        head = spoken(reply, http_date(self.clock()), keep_alive=keep_alive)
        if reply.status >= 400:
            self.tally.refused(str(reply.status))
        if reply.status >= 400 and isinstance(reply.body, bytes):
            _say_no(head + reply.body, wire)
            self.tally.sent(len(reply.body))
        else:
            self._send(reply.body, head, wire)

    def _asked_of_dialect(self, request: Request, wire: Wire) -> Reply:
        if self.dialect is None:
            raise RuntimeError("a request was taken for one of a dialect, and there is none")
        return self.dialect.answer(request, wire.peer)

    def _send(self, body: bytes | Extent, head: bytes, wire: Wire) -> None:
        if isinstance(body, bytes):
            wire.send(head, more=bool(body))
            if body:
                wire.send_body(body)
            return
        with self.answers.admitted(body.resource.generation, wire):
            self.delivery.send(
                body.resource, body.file, head, body.span, wire, patience=self.limits.first_byte
            )


def _say_no(words: bytes, wire: Wire) -> None:
    """Send a refusal; a stranger must have room for it.

    No thread waits for one that asks and asks, and reads none of it.
    """
    if wire.known:
        wire.send(words)
    else:
        wire.send_at_once(words)
