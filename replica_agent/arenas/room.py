"""Find how much memory arenas may take: what a container allows, or what the host has free.

Sources: Linux, Documentation/admin-guide/cgroup-v2.rst (``memory.max``, "max" is no limit),
cgroup-v1/memory.rst (``memory.limit_in_bytes``, no limit is a number near 2**63), and
filesystems/proc.rst (``MemAvailable``).
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from cache_protocol.errors import CapacityError
from cache_protocol.units import show_size

_NO_LIMIT = 2**60  # bytes; cgroup v1 says "none" with a number just below 2**63


def check_room(need: int, limit: int | None, root: Path = Path("/"), held: int = 0) -> None:
    """Return if ``need`` bytes may be taken.

    Args:
        need: bytes.
        limit: bytes that the operator allows in all, if he says.
        root: of the host's file systems.
        held: bytes that engines still have of what was laid out before.

    Raises:
        CapacityError: they may not. Memory is not taken back from a kernel that has promised
            it: what is mapped beyond the limit ends in the OOM killer, so we ask first.
    """
    have = memory_limit(root, held) if limit is None else max(0, limit - held)
    if need > have:
        beside = f" beside {held} ({show_size(held)}) that engines have already" if held else ""
        raise CapacityError(
            f"the models need {need} bytes ({show_size(need)}) of memory, "
            f"{have} bytes ({show_size(have)}) are allowed here{beside}"
        )


def memory_limit(root: Path = Path("/"), held: int = 0) -> int:
    """Return the bytes that this process may still come to use.

    A group's limit is a constant, and ``held`` bytes count towards it; what is available is
    without them already.
    """
    return max(0, min([_available(root), *(most - held for most in _group_limits(root))]))


def _available(root: Path) -> int:
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise CapacityError("/proc/meminfo does not say how much memory is available")


def _group_limits(root: Path) -> Iterator[int]:
    """Yield the limit of every group that this process is in; the tightest one counts."""
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _limits(root / "sys/fs/cgroup", path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits(root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes")


def _limits(mount: Path, path: str, name: str) -> Iterator[int]:
    # In a container the path may be the host's, while the mount shows the container's own
    # group as its root: groups that cannot be seen are skipped, the root is always tried.
    group = PurePosixPath(path.lstrip("/"))
    for place in (group, *group.parents):
        file = mount / place / name
        text = file.read_text().strip() if file.is_file() else "max"
        if text.isdigit() and int(text) < _NO_LIMIT:
            yield int(text)
