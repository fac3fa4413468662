"""Whether the node's disk can be trusted with new work. Pure: the caller brings times.

              an error of the device, a probe that fails,
              or one that does not come back in time
    WELL ───────────────────────────────────────────────────> SICK
     ^             a probe that began after the last error       │
     └──────────────── came back and was right ──────────────────┘

A full disk is not a sick one, nor is a file that is missing. One bad sector makes the disk sick
for one round of probes, no longer: the chunk on it is brought anew meanwhile.
"""

import errno
from dataclasses import dataclass

# What a device says when it fails, a file system that has given up, or a mount that is gone.
# Source: errno(3); EUCLEAN is "structure needs cleaning" of ext4 and xfs.
DEVICE_ERRORS = frozenset(
    {
        errno.EIO,
        errno.EROFS,
        errno.ENODEV,
        errno.ENXIO,
        errno.EUCLEAN,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.EREMOTEIO,
        errno.EBADMSG,
    }
)


@dataclass(slots=True)
class DiskHealth:
    """What is known of one disk. Not locked."""

    deadline: float  # seconds that a probe may take
    failure: str | None = None  # the last one, unless a good probe came after it
    _failed_at: float = 0.0  # monotonic seconds
    _probing_since: float | None = None  # monotonic seconds

    def failed(self, reason: str, now: float) -> None:
        """Note that something failed on the device."""
        self.failure, self._failed_at = reason, now

    def begin_probe(self, now: float) -> None:
        """Note that a probe is on its way."""
        self._probing_since = now

    def end_probe(self, reason: str | None, now: float) -> None:
        """Note that the probe came back; ``reason`` says what was wrong, None: nothing."""
        begun, self._probing_since = self._probing_since, None
        if reason is not None:
            self.failed(reason, now)
        elif begun is None or begun >= self._failed_at:
            self.failure = None

    def sickness(self, now: float) -> str | None:
        """Return why the disk is sick; None while it is well."""
        since = self._probing_since
        if since is not None and now - since > self.deadline:
            return f"the disk has not answered for {now - since:.0f} s"
        return self.failure
