"""Watch the disk under ROOT: a small write and read every few seconds, and what others run into.

Two threads: one probes, and hangs when the disk hangs; one looks at the clock, and never touches
the disk. Nothing else of the node waits for either.
"""

import logging
import threading
import time
from collections.abc import Callable

from cache_protocol.errors import CacheError, CapacityError, DiskError
from cache_server.core.disk_health import DEVICE_ERRORS, DiskHealth

log = logging.getLogger(__name__)

EVERY = 2.0  # seconds between two probes: 4 KiB each, 170 MB a day
# Seconds. A device that resets itself is silent for up to 7 or so (SCSI's and NVMe's own limit is
# 30); a write behind a full queue takes less than one.
DEADLINE = 10.0
TICK = 0.25  # seconds between two looks at the clock


class SickDiskError(DiskError):
    """The disk is sick: nothing new is written to it until it is well again."""

    code = "disk-sick"
    title = "The node's disk is sick"


class DiskWatch:
    """Knows whether the disk is sick, and tells when that changes."""

    def __init__(
        self,
        probe: Callable[[], None],
        changed: Callable[[str | None], None],
        *,
        every: float = EVERY,
        deadline: float = DEADLINE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            probe: writes to the disk and reads it back; CacheError when that fails.
            changed: is told the reason when the disk becomes sick, None when it is well again.
            every: seconds between two probes.
            deadline: seconds that a probe may take.
            clock: monotonic seconds.
        """
        self._probe = probe
        self._changed = changed
        self._every = every
        self._clock = clock
        self._health = DiskHealth(deadline)
        self._lock = threading.Lock()  # guards the health; never held while the disk is touched
        self._ending = threading.Event()
        self._prober = threading.Thread(target=self._probe_on, name="disk-probe", daemon=True)
        self._watcher = threading.Thread(target=self._watch, name="disk-watch", daemon=True)

    def start(self) -> None:
        """Begin to probe."""
        self._prober.start()
        self._watcher.start()

    def close(self) -> None:
        """Stop; a probe that hangs is left behind."""
        self._ending.set()
        for thread in (self._watcher, self._prober):
            if thread.ident is not None:
                thread.join(2 * TICK)

    @property
    def sickness(self) -> str | None:
        """Why the disk is sick; None while it is well."""
        with self._lock:
            return self._health.sickness(self._clock())

    def check(self) -> None:
        """Return while the disk is well; SickDiskError otherwise."""
        if (reason := self.sickness) is not None:
            raise SickDiskError(f"nothing is written to the disk until it is well: {reason}")

    def noticed(self, error: BaseException) -> None:
        """Take note of what somebody ran into; only what a failing device says counts."""
        cause = error if isinstance(error, OSError) else error.__cause__
        if isinstance(cause, OSError) and cause.errno in DEVICE_ERRORS:
            with self._lock:
                self._health.failed(str(error), self._clock())

    # The threads.

    def _probe_on(self) -> None:
        while not self._ending.is_set():
            with self._lock:
                self._health.begin_probe(self._clock())
            reason = self._ask()
            with self._lock:
                self._health.end_probe(reason, self._clock())
            self._ending.wait(self._every)

    def _ask(self) -> str | None:
        try:
            self._probe()
        except CapacityError:
            return None  # full, not sick
        except CacheError as error:
            return f"a probe failed: {error}"
        return None

    def _watch(self) -> None:
        before = None
        while not self._ending.wait(TICK):
            now = self.sickness
            if (now is None) != (before is None):
                log.warning("the disk is sick: %s", now) if now else log.info("the disk is well")
                self._changed(now)
            before = now
