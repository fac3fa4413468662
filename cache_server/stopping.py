"""How a node is told to stop: readers finish first, then what runs is ended, then it leaves.

    SIGTERM ──> drain ──nobody reads any more, the limit, or a second signal──> stop
    SIGINT  ──────────────────────────────────────────────────────────────────> stop
    stop: fills end, requests get GRACE seconds; after STOP_LIMIT the process leaves anyway

A kill at any moment loses nothing on disk; a drain is for the replicas that read right now.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

import uvicorn

log = logging.getLogger(__name__)

STOP_LIMIT = 9.0  # seconds; container engines send SIGKILL after 10
LOOK = 0.05  # seconds between two looks whether somebody still reads


@dataclass(frozen=True, slots=True)
class Stopping:
    """What a node does on its way out, and how long that may take."""

    drain: Callable[[], None]  # takes no new reader; may wait for a lock
    readers: Callable[[], int]  # how many still read
    end: Callable[[], None]  # ends what runs and tells who waits; may wait for a lock
    limit: timedelta  # that readers get


class Drain:
    """Waits for readers, on a thread of its own: the loop goes on answering them."""

    def __init__(self, stopping: Stopping, over: Callable[[], None]) -> None:
        """``over`` is called once, from that thread, when nobody reads or time is up."""
        self._stopping = stopping
        self._over = over
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drain")

    def begin(self) -> None:
        """Start; returns at once, also for a signal handler."""
        self._thread.start()

    def hurry(self) -> None:
        """Wait for nobody any more."""
        self._hurry.set()

    def _run(self) -> None:
        # Beside the wait: a disk that hangs may hold the lock that this needs.
        threading.Thread(target=self._stopping.drain, name="begin-drain", daemon=True).start()
        limit = self._stopping.limit.total_seconds()
        deadline = time.monotonic() + limit
        if readers := self._stopping.readers():
            log.info("draining: %d readers have up to %.0f s to finish", readers, limit)
        while (readers := self._stopping.readers()) and time.monotonic() < deadline:
            if self._hurry.wait(LOOK):
                break
        if readers:
            log.warning("%d readers are cut off; they go on elsewhere or ask again", readers)
        self._over()


class Server(uvicorn.Server):
    """Drains at SIGTERM, stops at SIGINT or at a second signal.

    uvicorn raises the signal again once it has stopped, which would end the process before fills
    and readers are closed in order; here the node itself goes on from there.
    """

    def __init__(self, config: uvicorn.Config, stopping: Stopping) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._drain = Drain(stopping, self._stop)
        self.drained = False  # whether readers were given their time

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Hear of signals for the length of the block."""
        stops = (signal.SIGINT, signal.SIGTERM)
        previous = {stop: signal.signal(stop, self.handle_exit) for stop in stops}
        try:
            yield
        finally:
            for stop, handler in previous.items():
                signal.signal(stop, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Go one step further towards the end. Runs as a signal handler: takes no lock."""
        if self.should_exit:
            super().handle_exit(sig, frame)  # a second Ctrl-C waits for no request
        elif self.drained:
            self._drain.hurry()
        elif sig == signal.SIGTERM:
            self.drained = True
            self._drain.begin()
        else:
            self._stop()

    def _stop(self) -> None:
        log.info("stopping")
        # Callers that wait for a fill are told now, or they would be cut off after GRACE. In a
        # thread, since the code that a signal interrupts may hold the service's lock.
        threading.Thread(target=self._stopping.end, name="end-fills").start()
        last = threading.Timer(STOP_LIMIT, _leave)
        last.daemon = True
        last.start()
        self.should_exit = True


def _leave() -> None:
    """End the process although something still waits, for a silent origin or a dead disk.

    Whatever is on disk is good at any moment: that is what a fill resumes from after ``kill -9``.
    """
    log.warning("not everything ended within %.0f s; leaving", STOP_LIMIT)
    os._exit(0)
