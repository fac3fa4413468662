"""Which kind of file system a path is on, and how much room it has.

Source: Linux, Documentation/filesystems/proc.rst, /proc/<pid>/mountinfo.
"""

import os
from pathlib import Path, PurePosixPath

MEMORY_KINDS = ("tmpfs", "ramfs")  # what is written there takes memory


def kind_of(path: Path) -> str:
    """Return the type of the file system that ``path``, which exists, is on."""
    place = PurePosixPath(path.resolve())
    best, kind = -1, ""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount = PurePosixPath(_plain(before.split()[4]))
        # Of two mounts on one directory the later one counts.
        if place.is_relative_to(mount) and len(mount.parts) >= best:
            best, kind = len(mount.parts), after.split()[0]
    return kind


def room_in(path: Path) -> int:
    """Return the bytes that may still be written below ``path``."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def _plain(mount: str) -> str:
    """Undo the kernel's octal escapes of blanks and backslashes."""
    return mount.encode().decode("unicode_escape").encode("latin-1").decode()
