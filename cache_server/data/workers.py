"""A bounded pool of threads that grows on demand and shrinks when idle.

Not ``concurrent.futures``: its pool never shrinks, queues without bound and makes a future per
call; here a call beyond the bound is refused at once.
"""

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

IDLE_TIME = 30.0  # seconds; a thread without work for so long ends

log = logging.getLogger(__name__)
Job = Callable[[], None]


class Workers:
    """Runs jobs, at most ``limit`` at once."""

    def __init__(self, limit: int, *, name: str) -> None:
        self._limit = limit
        self._name = name
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._busy = 0  # jobs given and not yet done; there are never fewer threads

    @property
    def busy(self) -> int:
        """How many jobs run now."""
        return self._busy

    def give(self, job: Job) -> bool:
        """Have ``job`` run by a thread; False when all are busy or none can be started."""
        with self._lock:
            if self._busy >= self._limit:
                return False
            if self._busy >= len(self._threads) and not self._start():
                return False
            self._busy += 1
        self._jobs.put(job)
        return True

    def close(self, timeout: float) -> bool:
        """Let every thread end once its job is done; return whether all did in ``timeout`` s."""
        deadline = time.monotonic() + timeout
        with self._lock:
            threads = list(self._threads)
        for _ in threads:
            self._jobs.put(None)
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    def _start(self) -> bool:
        thread = threading.Thread(target=self._work, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system has no thread left
            log.warning("no further thread can be started above %d", len(self._threads))
            return False
        self._threads.add(thread)
        return True

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception:
                log.exception("a job of %s failed", self._name)
            finally:
                with self._lock:
                    self._busy -= 1

    def _next(self) -> Job | None:
        """Return the next job; None when this thread is to end."""
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_TIME)
            except Empty:
                with self._lock:
                    if len(self._threads) <= self._busy:
                        continue  # a job is on its way, and counts on this thread
                    self._threads.discard(threading.current_thread())
                    return None
            if job is None:
                with self._lock:
                    self._threads.discard(threading.current_thread())
            return job
