"""Read what readers will ask for next: a file that is read from front to back, part by part.

A replica's lanes take the parts of a file in order, and each lane is one connection: while they
send, nobody would read on, and the disk would idle. So one thread asks the kernel for the pages
behind the last part that was asked for. It does nothing for a file that is being filled, whose
pages are in memory anyway, nor for a reader that jumps about.
"""

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from queue import Full, Queue

from cache_protocol.errors import CacheError
from cache_protocol.ranges import Span
from cache_server.data.read_ahead import ReadAhead
from cache_server.ports import ReadableFile

# Bytes behind the last part: as much as four lanes ask for at once, with parts of 32 MiB.
WINDOW = 128 * 2**20
FILES = 256  # whose readers are remembered
WAITING = 16  # spans that the disk has not been asked for yet; more are of no use to anybody

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Progress:
    asked: int = 0  # bytes from the front that readers have asked for
    read: int = 0  # bytes from the front that the disk has been asked for


class Prefetch:
    """One thread that reads ahead of all readers. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of_file: OrderedDict[Hashable, _Progress] = OrderedDict()
        self._queue: Queue[tuple[ReadableFile, Span] | None] = Queue(WAITING)
        self._thread = threading.Thread(target=self._run, name="data-prefetch", daemon=True)
        self._closing = False

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a read that hangs in a dead disk is left behind."""
        self._closing = True
        try:
            self._queue.put_nowait(None)
        except Full:  # then the thread looks at ``_closing`` before it waits again
            log.debug("read-ahead is busy; it ends after the span that it reads")

    def asked(self, key: Hashable, file: ReadableFile, span: Span) -> None:
        """Take note that a reader asked for ``span`` of ``file``, all of which is on disk."""
        ahead = self._next(key, span, file.size)
        if ahead.size > 0:
            try:
                self._queue.put_nowait((file, ahead))
            except Full:  # the disk is behind its readers: they ask it themselves
                return

    def _next(self, key: Hashable, span: Span, size: int) -> Span:
        with self._lock:
            progress = self._of_file.setdefault(key, _Progress())
            self._of_file.move_to_end(key)
            if len(self._of_file) > FILES:
                self._of_file.popitem(last=False)
            if span.begin == 0:  # a new reader: what an earlier one had read may be gone again
                progress.asked = progress.read = 0
            if not progress.asked - WINDOW <= span.begin <= progress.asked + WINDOW:
                return Span(0, 0)
            progress.asked = max(progress.asked, span.end)
            begin = max(progress.read, progress.asked)
            progress.read = max(begin, min(progress.asked + WINDOW, size))
            return Span(begin, progress.read)

    def _run(self) -> None:
        while not self._closing and (task := self._queue.get()) is not None:
            file, span = task
            try:
                self._read(file, span)
            except (OSError, CacheError) as error:
                # Nobody asked for these bytes yet: who does will hear of it.
                log.debug("read-ahead of %s failed: %s", file.etag, error)

    def _read(self, file: ReadableFile, span: Span) -> None:
        fd = file.open()
        try:
            ahead = ReadAhead(fd, span)
            at = span.begin
            while at < span.end and not self._closing:
                ahead.advance(at)
                at = ahead.position
        finally:
            os.close(fd)
