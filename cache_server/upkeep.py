"""Small things that a running node does by itself, again and again, in one thread.

A chore never ends the others: what fails is logged, once as long as it fails the same way, and
tried again at the next round.
"""

import logging
import threading
from collections.abc import Callable, Sequence

from cache_protocol.errors import CacheError

INTERVAL = 2.0  # seconds from one round to the next

log = logging.getLogger(__name__)


class Upkeep:
    """Does its chores every ``interval`` seconds, from ``start`` to ``close``."""

    def __init__(self, chores: Sequence[Callable[[], object]], interval: float = INTERVAL) -> None:
        self._chores = chores
        self._interval = interval
        self._failed: dict[int, str] = {}  # by chore, what was logged last
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin; the first round comes after one interval."""
        self._thread.start()

    def close(self) -> None:
        """End; a chore that waits for a dead disk is left behind."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(self._interval)

    def round(self) -> None:
        """Do every chore once."""
        for number, chore in enumerate(self._chores):
            try:
                chore()
            except (CacheError, OSError) as error:
                self._note(number, f"{error}; tried again every {self._interval:.0f} s")
            else:
                self._failed.pop(number, None)

    def _note(self, number: int, words: str) -> None:
        if self._failed.get(number) != words:
            self._failed[number] = words
            log.warning("%s", words)

    def _run(self) -> None:
        while not self._closing.wait(self._interval):
            self.round()
