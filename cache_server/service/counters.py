"""What the node has done since its start; shown by ``status``."""

import threading


class Counters:
    """Sums that many threads add to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.pulled = 0  # bytes from origins
        self.repaired = 0  # chunks that were wrong on disk and brought anew
        self.lost = 0  # files found missing or cut short on disk

    def count_pulled(self, size: int) -> None:
        """Add ``size`` bytes."""
        with self._lock:
            self.pulled += size

    def count_repaired(self) -> None:
        """Add one chunk."""
        with self._lock:
            self.repaired += 1

    def count_lost(self) -> None:
        """Add one file."""
        with self._lock:
            self.lost += 1
