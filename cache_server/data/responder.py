"""One request, answered: the right to read, the file, the wait for its bytes, the bytes.

Everything that can be known before the first byte becomes a status. From the first byte on there
is only going on or cutting the connection: a short answer must never look like a whole one.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain
from typing import TypeVar

from cache_protocol import digests, tickets
from cache_protocol.digests import CHUNK_SIZE, DIGEST_SIZE, VERDICT_SIZE
from cache_protocol.errors import (
    CacheError,
    GenerationGoneError,
    MalformedError,
    OriginUnavailableError,
    TicketError,
)
from cache_protocol.ranges import Span
from cache_protocol.request_ids import accepted
from cache_protocol.routes import DIGESTS, FILES, Resource, parse_resource
from cache_protocol.tickets import Keys, Ticket
from cache_server.core.tracing import request_id
from cache_server.data.answer import content_head, failed, problem_answer, select
from cache_server.data.answers import Answers
from cache_server.data.guests import Guests
from cache_server.data.limits import Limits
from cache_server.data.prefetch import Prefetch
from cache_server.data.request import RefusedError, Request
from cache_server.data.stats import Tally
from cache_server.data.wire import (
    CutError,
    DiskFailedError,
    ReaderLeftError,
    TruncatedError,
    Wire,
)
from cache_server.ports import ReadableFile, Shelf

MAX_REVALIDATE = 64 * 2**20  # bytes; a reader repairs a few chunks, it does not scrub the node

T = TypeVar("T")
log = logging.getLogger(__name__)


class FillFailedError(CutError):
    """The fill failed when part of the answer had been sent."""

    reason = "fill-failed"


class Responder:
    """Answers requests for the files on one shelf. Safe for threads."""

    def __init__(  # noqa: PLR0913, PLR0917 - one plane makes one of these
        self,
        shelf: Shelf,
        keys: Callable[[], Keys],
        limits: Limits,
        tally: Tally,
        clock: Callable[[], float],
        prefetch: Prefetch,
        guests: Guests,
    ) -> None:
        self._shelf = shelf
        self._keys = keys
        self._limits = limits
        self._tally = tally
        self._clock = clock
        self._answers = Answers(limits)
        self._prefetch = prefetch
        self._guests = guests
        self._truncated: set[Resource] = set()  # said once each in the log

    def respond(self, request: Request, wire: Wire, *, keep_alive: bool) -> None:
        """Answer ``request`` to its last byte.

        Raises:
            CutError: the answer has begun and cannot be finished.
        """
        wire.begun = False
        self._tally.request()
        # Whatever is logged about it, in this thread, is about that reader's start.
        request_id.set(accepted(request.fields.get("x-request-id")))
        try:
            self._answer(request, wire, keep_alive=keep_alive)
        except RefusedError as refused:
            self.refuse(refused, wire, keep_alive=keep_alive, head_only=request.method == "HEAD")

    def refuse(
        self, refused: RefusedError, wire: Wire, *, keep_alive: bool, head_only: bool = False
    ) -> None:
        """Count ``refused`` and send its status and problem document."""
        wire.send(self.problem(refused, keep_alive=keep_alive, head_only=head_only))

    def problem(
        self, refused: RefusedError, *, keep_alive: bool = False, head_only: bool = False
    ) -> bytes:
        """Count ``refused`` and return its whole answer."""
        self._tally.refused(str(refused.status))
        now = self._clock()
        return problem_answer(refused, now=now, keep_alive=keep_alive, head_only=head_only)

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
                self._send_content(resource, file, head, selection.span, wire)
            elif resource.kind == DIGESTS:
                self._send_parts(self._table(file, selection.span, wire), head, wire)
            else:
                self._send_parts(self._verdict(file, selection.span, wire), head, wire)

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

    def _send_content(
        self, resource: Resource, file: ReadableFile, head: bytes, span: Span, wire: Wire
    ) -> None:
        stream = file.stream(span, partial(_pause, wire))
        if stream is None:
            self._send_file(resource, file, head, span, wire)
            return
        with closing(stream):
            self._send_parts(_streamed(stream, wire), head, wire)

    def _send_file(
        self, resource: Resource, file: ReadableFile, head: bytes, span: Span, wire: Wire
    ) -> None:
        with wire.at_the_disk():
            fd = self._open(resource, file)
        try:
            runs = self._runs(file, span, wire)
            first = next(runs)  # waits: a fill that fails now is still a status
            if file.present_until(span.begin, 0) == file.size:
                self._prefetch.asked(resource, file, span)
            wire.send(head, more=True)
            for run in chain((first,), runs):
                wire.send_file(fd, run)
        except TruncatedError as error:
            self._report_truncated(resource, error)
            raise
        except DiskFailedError as error:
            log.error("%s: %s", resource, error)  # noqa: TRY400 - the cause is the disk's one word
            file.failed(error.at, error)
            raise
        finally:
            os.close(fd)

    def _open(self, resource: Resource, file: ReadableFile) -> int:
        try:
            return file.open()
        except CacheError as error:
            raise failed(error) from error
        except OSError as error:
            log.exception("cannot open %s", resource)
            raise failed(CacheError(f"the node cannot open the file: {error.strerror}")) from error

    def _report_truncated(self, resource: Resource, error: TruncatedError) -> None:
        if resource not in self._truncated:
            self._truncated.add(resource)
            log.error("%s is shorter on disk than its generation says: %s", resource, error)

    def _runs(self, file: ReadableFile, span: Span, wire: Wire) -> Iterator[Span]:
        """Yield consecutive present runs of ``span`` as they arrive."""
        at = span.begin
        while at < span.end:
            end = self._wait(partial(file.present_until, at), wire)
            yield Span(at, min(end, span.end))
            at = end

    def _revalidate(self, request: Request, file: ReadableFile, span: Span, wire: Wire) -> None:
        """Have the chunks of ``span`` checked on disk, if the reader says that one was wrong."""
        doubted = "no-cache" in request.fields.get("cache-control", "").lower()
        if not doubted or "range" not in request.fields or span.size > MAX_REVALIDATE:
            return
        for chunk in digests.chunks_of(span):
            self._wait(partial(file.present_until, chunk * CHUNK_SIZE), wire)
            self._wait(partial(file.revalidate, chunk), wire)

    def _table(self, file: ReadableFile, span: Span, wire: Wire) -> Iterator[bytes]:
        """Yield the bytes of ``span`` of the digest table, each entry when its chunk is there."""
        chunk = span.begin // DIGEST_SIZE
        while chunk * DIGEST_SIZE < span.end:
            there = self._wait(partial(file.present_until, chunk * CHUNK_SIZE), wire)
            run = range(chunk, min(digests.chunk_count(there), -(-span.end // DIGEST_SIZE)))
            entries = self._wait(partial(file.digests, run), wire)
            base = chunk * DIGEST_SIZE
            yield entries[max(0, span.begin - base) : span.end - base]
            chunk = run.stop

    def _verdict(self, file: ReadableFile, span: Span, wire: Wire) -> Iterator[bytes]:
        yield self._wait(file.verdict, wire)[span.begin : span.end]

    def _send_parts(self, parts: Iterator[bytes | memoryview], head: bytes, wire: Wire) -> None:
        first = next(parts)
        wire.send(head, more=True)
        for part in chain((first,), parts):
            wire.send_body(part)

    def _wait(self, step: Callable[[float], T], wire: Wire) -> T:
        """Return what ``step`` returns, looking between slices whether the reader is still there.

        Raises:
            RefusedError: it failed, and nothing was sent yet.
            FillFailedError: it failed in the middle of the answer.
            ReaderLeftError: nobody is waiting any more.
        """
        with _telling(wire):
            return self._wait_in_slices(step, wire)

    def _wait_in_slices(self, step: Callable[[float], T], wire: Wire) -> T:
        deadline = time.monotonic() + self._limits.wait_time
        while True:
            try:
                return step(self._limits.wait_slice)
            except TimeoutError as error:
                if wire.reader_left():
                    raise ReaderLeftError("the reader left while it waited") from error
                if time.monotonic() >= deadline:
                    waited = f"no byte came within {self._limits.wait_time:.0f} s"
                    raise OriginUnavailableError(waited) from error


@contextmanager
def _telling(wire: Wire) -> Iterator[None]:
    """Turn a failure into a status while there can be one, into a cut connection afterwards."""
    try:
        yield
    except CacheError as error:
        if wire.begun:
            raise FillFailedError(str(error)) from error
        raise failed(error) from error


def _streamed(stream: Iterator[memoryview], wire: Wire) -> Iterator[memoryview]:
    with _telling(wire):
        yield from stream


def _pause(wire: Wire, seconds: float) -> None:
    """Wait, as long as there is somebody to wait for."""
    if wire.reader_left(within=seconds):
        raise ReaderLeftError("the reader left while it waited")


def _shape(kind: str, file: ReadableFile) -> tuple[int, str]:
    """Return size and strong tag of a resource of ``file``."""
    if kind == FILES:
        return file.size, file.etag
    size = digests.chunk_count(file.size) * DIGEST_SIZE if kind == DIGESTS else VERDICT_SIZE
    return size, f'{file.etag[:-1]}.{kind}"'
