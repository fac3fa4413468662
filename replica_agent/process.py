"""Tell when this process was started, so that a start is measured from exec.

Source: Linux, Documentation/filesystems/proc.rst, /proc/<pid>/stat field 22: ticks after boot.
"""

import os
import time
from pathlib import Path


def started() -> float:
    """Return when this process was started, on the clock of ``time.monotonic()``.

    Exact to a tick, a hundredth of a second.
    """
    # The name, field 2, may hold blanks and parentheses: count from its end.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[22 - 3])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - age
