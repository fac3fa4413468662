"""Where the hub's redirects lead, remembered, so that not every range asks the hub anew.

A file of 5 GB is pulled in 150 ranges; each would cost the hub a request and its rate limit.
While nobody knows a file's location one thread asks, and the others wait for what it learns.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

from cache_protocol.errors import OriginUnavailableError


@dataclass(slots=True)
class _Place:
    turn: Lock = field(default_factory=Lock)
    url: str | None = None


class Locations:
    """From the URL at the hub to the signed one that answered for it. Safe for threads."""

    def __init__(self, *, wait: float) -> None:
        """Args: wait: seconds that a thread waits for the one that asks."""
        self._wait = wait
        self._lock = Lock()
        self._places: dict[str, _Place] = {}

    def known(self, start: str) -> str | None:
        """Return the location of ``start`` if somebody learned it."""
        return self._place(start).url

    def learn(self, start: str, url: str) -> None:
        """Remember that ``url`` answered for ``start``."""
        self._place(start).url = url

    def forget(self, start: str, url: str) -> None:
        """Drop ``url``, which has expired; a newer one that another thread learned stays."""
        place = self._place(start)
        with self._lock:
            if place.url == url:
                place.url = None

    @contextmanager
    def turn(self, start: str) -> Iterator[None]:
        """Let one thread at a time ask for ``start``; look at ``known`` again inside.

        Raises:
            OriginUnavailableError: the one that asks takes too long.
        """
        turn = self._place(start).turn
        if not turn.acquire(timeout=self._wait):
            raise OriginUnavailableError(f"nobody learned in {self._wait:.0f} s where a file lies")
        try:
            yield
        finally:
            turn.release()

    def _place(self, start: str) -> _Place:
        with self._lock:
            return self._places.setdefault(start, _Place())
