"""The bytes of a file, to the last one: the wait for them, ``sendfile``, what passes through.

What fails before the first byte is a RefusedError, and can still become a status. From the first
byte on there is only going on or cutting the connection: a short answer must never look like a
whole one.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain
from typing import TypeVar

from cache_protocol.errors import CacheError, OriginUnavailableError
from cache_protocol.ranges import Span
from cache_protocol.routes import Resource
from cache_server.data.answer import failed
from cache_server.data.limits import Limits
from cache_server.data.prefetch import Prefetch
from cache_server.data.wire import (
    CutError,
    DiskFailedError,
    ReaderLeftError,
    TruncatedError,
    Wire,
)
from cache_server.ports import ReadableFile

T = TypeVar("T")
log = logging.getLogger(__name__)


class FillFailedError(CutError):
    """The fill failed when part of the answer had been sent."""

    reason = "fill-failed"


class GivenUpError(CutError):
    """The generation was given up in the middle of the answer, and its file with it."""

    reason = "given-up"


class Delivery:
    """Sends what files have, or what comes in parts. Safe for threads."""

    def __init__(self, limits: Limits, prefetch: Prefetch) -> None:
        self._limits = limits
        self._prefetch = prefetch
        self._truncated: set[Resource] = set()  # said once each in the log

    def send(  # noqa: PLR0913 - one answer, whole
        self,
        resource: Resource,
        file: ReadableFile,
        head: bytes,
        span: Span,
        wire: Wire,
        *,
        patience: float | None = None,
    ) -> None:
        """Send ``head``, and ``span`` of ``file`` as its bytes come.

        Args:
            resource: which file it is, for the log and for reading ahead.
            file: whole, being filled, or coming from its origin.
            head: of the answer.
            span: not empty.
            wire: to whom.
            patience: seconds that the first byte may take, if less than any other byte.

        Raises:
            RefusedError: it failed, and nothing was sent yet.
            CutError: the answer has begun and cannot be finished.
        """
        deadline = None if patience is None else time.monotonic() + patience
        stream = file.stream(span, partial(_pause, wire, deadline))
        if stream is None:
            self._send_file(resource, file, head, span, wire, patience)
            return
        with closing(stream):
            self.send_parts(_streamed(stream, wire), head, wire)

    def send_parts(self, parts: Iterator[bytes | memoryview], head: bytes, wire: Wire) -> None:
        """Send ``head`` once the first part is there, and all parts; raises as ``send``."""
        first = next(parts)
        wire.send(head, more=True)
        for part in chain((first,), parts):
            wire.send_body(part)

    def wait(self, step: Callable[[float], T], wire: Wire, *, patience: float | None = None) -> T:
        """Return what ``step`` returns, looking between slices whether the reader is still there.

        Raises:
            RefusedError: it failed, and nothing was sent yet.
            FillFailedError: it failed in the middle of the answer.
            ReaderLeftError: nobody is waiting any more.
        """
        with _telling(wire):
            return self._wait_in_slices(step, wire, patience or self._limits.wait_time)

    def _wait_in_slices(self, step: Callable[[float], T], wire: Wire, patience: float) -> T:
        deadline = time.monotonic() + patience
        while True:
            try:
                return step(max(0.0, min(self._limits.wait_slice, deadline - time.monotonic())))
            except TimeoutError as error:
                if wire.reader_left():
                    raise ReaderLeftError("the reader left while it waited") from error
                if time.monotonic() >= deadline:
                    waited = f"no byte came within {patience:.0f} s"
                    raise OriginUnavailableError(waited) from error

    def _send_file(  # noqa: PLR0913, PLR0917 - those of ``send``
        self,
        resource: Resource,
        file: ReadableFile,
        head: bytes,
        span: Span,
        wire: Wire,
        patience: float | None,
    ) -> None:
        with wire.at_the_disk():
            fd = self._open(resource, file)
        try:
            runs = self._runs(file, span, wire, patience)
            first = next(runs)  # waits: a fill that fails now is still a status
            if file.present_until(span.begin, 0) == file.size:
                self._prefetch.asked(resource, file, span)
            wire.send(head, more=True)
            for run in chain((first,), runs):
                wire.send_file(fd, run)
        except TruncatedError as error:
            if file.ended:
                raise GivenUpError(f"{resource} was given up: {error}") from error
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

    def _runs(
        self, file: ReadableFile, span: Span, wire: Wire, patience: float | None
    ) -> Iterator[Span]:
        """Yield consecutive present runs of ``span`` as they arrive."""
        at = span.begin
        while at < span.end:
            first = patience if at == span.begin else None
            end = self.wait(partial(file.present_until, at), wire, patience=first)
            yield Span(at, min(end, span.end))
            at = end


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


def _pause(wire: Wire, deadline: float | None, seconds: float) -> None:
    """Wait, as long as there is somebody to wait for, and to the first byte no longer than he does.

    Raises:
        RefusedError: it would be after ``deadline``, monotonic seconds.
    """
    if deadline is not None and not wire.begun and time.monotonic() + seconds > deadline:
        raise failed(OriginUnavailableError("the origin did not send the first byte in time"))
    if wire.reader_left(within=seconds):
        raise ReaderLeftError("the reader left while it waited")
