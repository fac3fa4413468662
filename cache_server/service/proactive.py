"""Fills that no replica waits for yet: at registration, and after a restart.

Few at a time, so that turns are left for fills that somebody waits for. One that fails is not
tried again here: its own attempts are over by then, and the next request, or the next
``POST …/warm`` of a deploy hook or cron, begins afresh.
"""

import logging
import threading  # noqa: TC003 - as everywhere else in the service
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from cache_protocol.errors import CacheError
from cache_server.catalogue.registry import Key
from cache_server.service.slot import Work

log = logging.getLogger(__name__)

AT_ONCE = 2  # of the MAX_FILLS turns


class Proactive:
    """A queue of slots. Guarded by the service's lock."""

    def __init__(self, lock: "threading.RLock", begin: Callable[[Key], Work | None]) -> None:
        """``begin`` starts a fill or joins it; None: there is nothing to fill."""
        self._lock = lock
        self._begin = begin
        self._waiting: deque[Key] = deque()
        self._running: set[Work] = set()

    def ask(self, keys: Iterable[Key]) -> None:
        """Fill each of ``keys`` in order, as turns come; returns at once.

        Who waits already waits once: housekeeping asks again every few seconds, and a second turn
        would come right after the first one has failed.
        """
        with self._lock:
            waiting = set(self._waiting)
            self._waiting += [key for key in dict.fromkeys(keys) if key not in waiting]
            self._go_on()

    def close(self) -> None:
        """Begin no more."""
        with self._lock:
            self._waiting.clear()

    def _go_on(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            work = self._try(self._waiting.popleft())
            if work is not None and work not in self._running:
                self._running.add(work)
                work.done.add_done_callback(partial(self._ended, work))

    def _try(self, key: Key) -> Work | None:
        try:
            return self._begin(key)
        except CacheError as error:  # that of one slot only: the others still have their turn
            log.warning("%s is not filled unasked: %s", key.id, error)
            return None

    def _ended(self, work: Work, _: object) -> None:
        with self._lock:
            self._running.discard(work)
            self._go_on()
