"""Server-sent events: answers that go on, and say what has changed since they last said something.

Every second each stream looks anew, on threads of its own: the ones that answer calls must not be
taken by pages that are left open. A stream ends with the token it was opened by, and with the node.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from fastapi.responses import StreamingResponse

from cache_protocol.errors import BusyError, CacheError
from cache_server.core.access import Identity

MAX_STREAMS = 200  # each is a connection and a look a second; one tenant has half of them
THREADS = 2  # that look; a service that waits for a hung disk holds these, and no others
OVER = "over"  # the last event of every stream; its data is why: one of these, or an error's code
AGAIN, ENDED = "again", "ended"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # nginx: pass on at once


class Event(NamedTuple):
    """One thing that is said."""

    name: str
    data: str  # one line


Look = Callable[[], Iterable[Event]]  # what has changed since the last look


@dataclass(frozen=True, slots=True)
class Rhythm:
    """When streams do what. Seconds."""

    every: float = 1.0  # between two looks
    quiet: float = 15.0  # after which an empty line keeps proxies from cutting the connection
    # After which a stream says that it is over and to ask again: whoever does is judged again, a
    # session may have run out although its token has not.
    life: float = 3600.0


RHYTHM = Rhythm()


class Streams:
    """All streams of a node, of one event loop."""

    def __init__(
        self,
        known: Callable[[Identity], bool],
        ending: Callable[[], bool],
        rhythm: Rhythm = RHYTHM,
        *,
        limit: int = MAX_STREAMS,
    ) -> None:
        """Stream nothing yet.

        Args:
            known: whether somebody's token is still valid.
            ending: whether the node is about to end.
            rhythm: when streams do what.
            limit: streams at once.
        """
        self._known = known
        self._ending = ending
        self._rhythm = rhythm
        self._limit = limit
        self._open: Counter[str] = Counter()  # by tenant
        self._lookers = ThreadPoolExecutor(THREADS, thread_name_prefix="stream")

    def open(self, identity: Identity, look: Look) -> StreamingResponse:
        """Return an answer that says what ``look`` sees, for as long as ``identity`` is known.

        Raises:
            BusyError: there are too many already.
        """
        self._check_room(identity.tenant)
        return StreamingResponse(
            self._events(identity, look), 200, HEADERS, media_type="text/event-stream"
        )

    def _check_room(self, tenant: str) -> None:
        """Refuse one more stream of ``tenant`` where half of all are its own; BusyError."""
        mine, every = self._open[tenant], self._open.total()
        if every >= self._limit or mine >= max(self._limit // 2, 1):
            raise BusyError(
                f"{every} streams of events are open, {mine} of them of tenant {tenant}: as many "
                "as there may be"
            )

    async def _events(self, identity: Identity, look: Look) -> AsyncIterator[str]:
        self._open[identity.tenant] += 1
        try:
            # The first line tells a browser how soon to come back after a break, in milliseconds.
            yield "retry: 2000\n\n"
            async for text in self._said(identity, look):
                yield text
        finally:
            self._open[identity.tenant] -= 1

    async def _said(self, identity: Identity, look: Look) -> AsyncIterator[str]:
        loop, rhythm, silent = asyncio.get_running_loop(), self._rhythm, 0.0
        end = loop.time() + rhythm.life
        while self._known(identity) and not self._ending():
            if loop.time() >= end:
                yield _line(Event(OVER, AGAIN))
                return
            try:
                events = await loop.run_in_executor(self._lookers, lambda: list(look()))
            except CacheError as error:  # what it looked at is not there any more
                yield _line(Event(OVER, error.code))
                return
            if events:
                yield "".join(map(_line, events))
            elif silent >= rhythm.quiet:
                yield ":\n\n"
            silent = 0.0 if events or silent >= rhythm.quiet else silent + rhythm.every
            await asyncio.sleep(rhythm.every)
        yield _line(Event(OVER, ENDED))


def _line(event: Event) -> str:
    return f"event: {event.name}\ndata: {event.data}\n\n"
