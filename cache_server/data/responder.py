"""One request of a replica, answered: the right to read, the file, what of it is wanted.

Everything that can be known before the first byte becomes a status; how bytes leave is told in
``delivery``.
"""

from collections.abc import Callable, Iterator
from functools import partial

from cache_protocol import digests, tickets
from cache_protocol.digests import CHUNK_SIZE, DIGEST_SIZE, VERDICT_SIZE
from cache_protocol.errors import GenerationGoneError, MalformedError, TicketError
from cache_protocol.ranges import Span
from cache_protocol.routes import DIGESTS, FILES, Resource, parse_resource
from cache_protocol.tickets import Keys, Ticket
from cache_server.data.answer import content_head, select
from cache_server.data.answers import Answers
from cache_server.data.delivery import Delivery
from cache_server.data.guests import Guests
from cache_server.data.plain import come_back, is_plain
from cache_server.data.request import RefusedError, Request
from cache_server.data.wire import Wire
from cache_server.ports import ReadableFile, Shelf

MAX_REVALIDATE = 64 * 2**20  # bytes; a reader repairs a few chunks, it does not scrub the node


class Responder:
    """Answers requests for the files on one shelf. Safe for threads."""

    def __init__(  # noqa: PLR0913, PLR0917 - one plane makes one of these
        self,
        shelf: Shelf,
        keys: Callable[[], Keys],
        answers: Answers,
        clock: Callable[[], float],
        delivery: Delivery,
        guests: Guests,
        patience: float,
    ) -> None:
        self._shelf = shelf
        self._keys = keys
        self._answers = answers
        self._clock = clock
        self._delivery = delivery
        self._guests = guests
        self._patience = patience  # seconds that a plain reader has for its first byte

    def answer(self, request: Request, wire: Wire, *, keep_alive: bool) -> None:
        """Answer ``request`` to its last byte.

        Raises:
            RefusedError: it is answered with a status instead; nothing was sent yet.
            CutError: the answer has begun and cannot be finished.
        """
        try:
            self._answer(request, wire, keep_alive=keep_alive)
        except RefusedError as refused:
            if is_plain(request.query):
                raise come_back(refused) from refused
            raise

    def _answer(self, request: Request, wire: Wire, *, keep_alive: bool) -> None:
        now = self._clock()
        ticket, resource, file = self._find(request, now)
        self._guests.admit(wire, ticket.tenant)
        size, etag = _shape(resource.kind, file)
        selection = select(request, size, etag)
        head = content_head(selection, etag, now=now, keep_alive=keep_alive)
        if request.method == "HEAD" or selection.span.size == 0:
            wire.send(head)
            return
        # What only waits, for digests or a verdict, takes a thread as well.
        with self._answers.admitted(resource.generation, wire):
            if resource.kind == FILES:
                self._revalidate(request, file, selection.span, wire)
                patience = self._patience if is_plain(request.query) else None
                self._delivery.send(resource, file, head, selection.span, wire, patience=patience)
            elif resource.kind == DIGESTS:
                self._delivery.send_parts(self._table(file, selection.span, wire), head, wire)
            else:
                self._delivery.send_parts(self._verdict(file, selection.span, wire), head, wire)

    def _find(self, request: Request, now: float) -> tuple[Ticket, Resource, ReadableFile]:
        # The ticket comes first, so that nobody without one learns which names exist.
        try:
            ticket = tickets.check(self._keys(), request.path, request.query, now)
            resource = parse_resource(request.path)
            file = self._shelf.find(resource.generation, resource.model, resource.path)
        except TicketError as error:
            raise RefusedError(403, error) from error
        except GenerationGoneError as error:
            raise RefusedError(410, error) from error
        except MalformedError as error:
            raise RefusedError(404, error) from error
        except FileNotFoundError as error:
            unknown = MalformedError("the generation has no such model or file")
            raise RefusedError(404, unknown) from error
        return ticket, resource, file

    def _revalidate(self, request: Request, file: ReadableFile, span: Span, wire: Wire) -> None:
        """Have the chunks of ``span`` checked on disk, if the reader says that one was wrong."""
        doubted = "no-cache" in request.fields.get("cache-control", "").lower()
        if not doubted or "range" not in request.fields or span.size > MAX_REVALIDATE:
            return
        for chunk in digests.chunks_of(span):
            self._delivery.wait(partial(file.present_until, chunk * CHUNK_SIZE), wire)
            self._delivery.wait(partial(file.revalidate, chunk), wire)

    def _table(self, file: ReadableFile, span: Span, wire: Wire) -> Iterator[bytes]:
        """Yield the bytes of ``span`` of the digest table, each entry when its chunk is there."""
        chunk = span.begin // DIGEST_SIZE
        while chunk * DIGEST_SIZE < span.end:
            there = self._delivery.wait(partial(file.present_until, chunk * CHUNK_SIZE), wire)
            run = range(chunk, min(digests.chunk_count(there), -(-span.end // DIGEST_SIZE)))
            entries = self._delivery.wait(partial(file.digests, run), wire)
            base = chunk * DIGEST_SIZE
            yield entries[max(0, span.begin - base) : span.end - base]
            chunk = run.stop

    def _verdict(self, file: ReadableFile, span: Span, wire: Wire) -> Iterator[bytes]:
        yield self._delivery.wait(file.verdict, wire)[span.begin : span.end]


def _shape(kind: str, file: ReadableFile) -> tuple[int, str]:
    """Return size and strong tag of a resource of ``file``."""
    if kind == FILES:
        return file.size, file.etag
    size = digests.chunk_count(file.size) * DIGEST_SIZE if kind == DIGESTS else VERDICT_SIZE
    return size, f'{file.etag[:-1]}.{kind}"'
