"""Handshakes that wait for a thread: a few are worked on at once, the others stand in line.

A handshake computes, up to 4 ms with a long key, and that must hold up neither the poller nor, when
thousands come at once, the answers. The poller alone calls; threads only run the jobs.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

from cache_server.data.connection import Connection
from cache_server.data.workers import Workers


class Handshakes:
    """The line, and the threads at its end."""

    def __init__(self, limit: int, shake: Callable[[Connection], None]) -> None:
        """Have ``shake`` run for at most ``limit`` connections at once."""
        self._limit = limit
        self._shake = shake
        # A thread counts as busy for a moment after its connection came back: twice as many.
        self._workers = Workers(2 * limit, name="data-handshake")
        self._line: deque[Connection] = deque()
        self._running: set[Connection] = set()

    def ask(self, connection: Connection) -> None:
        """Have a thread go on with the handshake of ``connection``, when it is its turn."""
        self._line.append(connection)
        self._go_on()

    def settle(self, connection: Connection) -> None:
        """Take note that ``connection`` came back; one that was not here is fine."""
        if connection in self._running:
            self._running.remove(connection)
            self._go_on()

    def works_on(self, connection: Connection) -> bool:
        """Whether ``connection`` is with a thread now, and must not be closed."""
        return connection in self._running

    def leave(self, connection: Connection) -> None:
        """Take ``connection`` out of the line; ValueError if it does not stand there."""
        self._line.remove(connection)

    def abandon(self) -> list[Connection]:
        """Empty the line; return who stood in it."""
        line, self._line = list(self._line), deque()
        return line

    def close(self, timeout: float) -> None:
        """End the threads."""
        self._workers.close(timeout)

    def _go_on(self) -> None:
        while self._line and len(self._running) < self._limit:
            connection = self._line[0]
            if not self._workers.give(partial(self._shake, connection)):
                return  # no thread can be had: the next that comes or comes back tries again
            self._running.add(self._line.popleft())
