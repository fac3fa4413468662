"""A disk that hangs: how long a thread has waited for it, and giving the thread up.

A read of a dead disk cannot be called back, also not by closing what it reads. So the thread is
left behind, another one takes its work, and should the read ever end, its bytes go nowhere:

    thread    begin ──── preadv ────> end: was I given up? then nothing of it may be stored
    watcher          give_up_after: waits for too long? then it is given up, under the same lock
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class AbandonedError(Exception):
    """This thread was given up while it waited for the disk; its work is somebody else's."""


class DiskTime:
    """The reads of one thread. Any other thread may watch."""

    def __init__(self) -> None:
        """Start with no read under way."""
        self._lock = threading.Lock()
        self._since: float | None = None  # monotonic seconds, while a read is under way
        self._abandoned = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Do a read inside; AbandonedError when it took so long that the thread was given up."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._since = None
                if self._abandoned:
                    raise AbandonedError

    def give_up_after(self, seconds: float) -> bool:
        """Give the thread up if a read takes longer than ``seconds``; return whether that is so."""
        with self._lock:
            since = self._since
            if since is not None and time.monotonic() - since >= seconds:
                self._abandoned = True
            return self._abandoned
