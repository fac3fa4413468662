"""The bytes of one span from an origin, whatever happens to the connection on the way.

A stream that breaks is opened again at the next missing byte, never at the beginning. How long
to wait, and when to give up, is ``core.backoff``'s decision.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import OriginUnavailableError
from cache_protocol.ranges import Span
from cache_server.core.backoff import delay
from cache_server.core.content import OriginFile
from cache_server.core.drip import DripError
from cache_server.ports import Origin, Stream

DRIPS = 3  # connections that drip, for one span, until the origin is given up
T = TypeVar("T")
Pause = Callable[[float], None]  # waits that many seconds; raises to end the whole work


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file at its origin, at the revision that was resolved."""

    origin: Origin
    revision: str
    file: OriginFile

    def open(self, span: Span) -> AbstractContextManager[Stream]:
        """See ``ports.Origin.open``."""
        return self.origin.open(self.revision, self.file, span)


def pieces(
    remote: RemoteFile, span: Span, *, buffer: memoryview, pause: Pause
) -> Iterator[tuple[int, memoryview]]:
    """Yield ``(offset, bytes)`` that tile ``span``; no piece crosses the end of a chunk.

    The bytes lie in ``buffer`` and stay good until the next step.

    Raises:
        OriginError: the origin says no, has not sent one byte for too many tries, or drips.
    """
    at, failures, drips = span.begin, 0, 0
    while at < span.end:
        try:
            with remote.open(Span(at, span.end)) as stream:
                while at < span.end:
                    chunk_end = (at // CHUNK_SIZE + 1) * CHUNK_SIZE
                    want = min(len(buffer), chunk_end - at, span.end - at)
                    got, broken = _fill(stream, buffer[:want])
                    if got:
                        failures = 0
                        yield at, buffer[:got]
                        at += got
                    if broken is not None:
                        raise broken
        except OriginUnavailableError as error:
            failures += 1
            # Apart from other failures: a drip is progress, byte by byte, without an end.
            drips += isinstance(error, DripError)
            if drips == DRIPS:
                raise
            _back_off(error, failures, pause)


def until_it_answers(ask: Callable[[], T], pause: Pause) -> T:
    """Return what ``ask`` returns, asking again while the origin does not answer.

    Raises:
        OriginError: the origin says no, or did not answer for too many tries.
    """
    failures = 0
    while True:
        try:
            return ask()
        except OriginUnavailableError as error:
            failures += 1
            _back_off(error, failures, pause)


def _back_off(error: OriginUnavailableError, failures: int, pause: Pause) -> None:
    wait = delay(failures, chance=random.random(), retry_after=error.retry_after)  # noqa: S311 - jitter
    if wait is None:
        raise error
    pause(wait)


def _fill(stream: Stream, into: memoryview) -> tuple[int, OriginUnavailableError | None]:
    """Read until ``into`` is full; return how much came, and what broke the stream if it did."""
    got = 0
    while got < len(into):
        try:
            n = stream.readinto(into[got:])
        except OriginUnavailableError as error:
            return got, error
        if n == 0:
            return got, OriginUnavailableError(f"the stream ended {len(into) - got} bytes early")
        got += n
    return got, None
