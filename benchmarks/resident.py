"""Watch how much memory of its own a process grows by, while a block runs.

Counted is RssAnon, what the process allocated. Pages of files that it maps or sends belong to
the page cache: they are shared, dropped at will, and counted by VmHWM only by accident.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_EVERY = 0.01  # seconds between two looks
_FIELD = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


@dataclass(slots=True)
class Growth:
    """What was seen; whole once the block has ended."""

    before: int  # bytes
    peak: int  # bytes

    @property
    def size(self) -> int:
        """Bytes between the start and the peak."""
        return self.peak - self.before


def proc_fields(path: str) -> dict[str, int]:
    """Return the sizes that a file of /proc such as ``/proc/meminfo`` lists, in bytes."""
    return {name: int(kib) * 1024 for name, kib in _FIELD.findall(Path(path).read_text())}


def memory_of(pid: int | str, field: str) -> int:
    """Return a field of /proc/PID/status in bytes, e.g. ``RssAnon`` or ``VmHWM``."""
    return proc_fields(f"/proc/{pid}/status")[field]


@contextmanager
def watching(pid: int) -> Iterator[Growth]:
    """Sample the anonymous memory of ``pid`` a hundred times a second during the block."""
    now = memory_of(pid, "RssAnon")
    growth = Growth(now, now)
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY):
            growth.peak = max(growth.peak, memory_of(pid, "RssAnon"))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield growth
    finally:
        ended.set()
        watcher.join()
