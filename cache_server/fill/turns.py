"""How many streams from origins may run at once for what passes through the node."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cache_protocol.errors import BusyError
from cache_server.fill.pieces import Pause

MAX_STREAMS = 32  # on the whole node; 8 replicas of 4 lanes, each with another pipeline
TURN_WAIT = 30.0  # seconds; half of what a replica waits for a byte before it hangs up
TICK = 0.5  # seconds within which a reader that left is noticed while it waits for its turn


class Turns:
    """How many streams there may be at once. Safe for threads."""

    def __init__(self, limit: int = MAX_STREAMS) -> None:
        self.taken = 0  # streams that run now
        self._limit = limit
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, pause: Pause) -> Iterator[None]:
        """Wait for a turn and hold it; ``pause`` is called while it takes longer.

        Raises:
            BusyError: there was none for too long.
        """
        deadline = time.monotonic() + TURN_WAIT
        while not self._take():
            if time.monotonic() >= deadline:
                raise BusyError(f"{self._limit} streams from origins run, and none ended in time")
            pause(0)
        try:
            yield
        finally:
            with self._changed:
                self.taken -= 1
                self._changed.notify()

    def _take(self) -> bool:
        with self._changed:
            if not self._changed.wait_for(lambda: self.taken < self._limit, TICK):
                return False
            self.taken += 1
            return True
