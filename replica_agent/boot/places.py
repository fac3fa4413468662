"""Where a boot keeps things on this host: its private directory, what it remembers, large files.

Finds places, makes none.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from replica_agent.arenas.mounts import MEMORY_KINDS, kind_of, room_in

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the tmpfs that POSIX shared memory lives on


def base(state: Path | None) -> Path:
    """Return where the models' directories are: one path on every replica."""
    if state is not None:
        return state / "models"
    return Path(f"/tmp/warmline-{os.getuid()}")  # noqa: S108 - private and checked, see ``home``


def other_bases() -> Iterator[Path]:
    """Yield where models' directories can be when the usual place is not to be had."""
    for place in (Path("/var/tmp"), _SHARED_MEMORY):  # noqa: S108 - as above
        if place.is_dir() and os.access(place, os.W_OK):
            yield place / f"warmline-{os.getuid()}-models"


def state_dir(state: Path | None) -> Path:
    """Return where manifests are remembered: the user's state directory unless told otherwise.

    Source: XDG Base Directory Specification, XDG_STATE_HOME.
    """
    if state is not None:
        return state
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    # A user without a home, as containers have them, is none that anything is remembered for.
    return Path(home if os.path.isabs(home) else f"/tmp/warmline-{os.getuid()}-state", "warmline")  # noqa: S108


def tmpfs_for(need: int) -> Path | None:
    """Return a directory on a tmpfs with room for ``need`` bytes, if there is one."""
    fits = _SHARED_MEMORY.is_dir() and kind_of(_SHARED_MEMORY) in MEMORY_KINDS
    if not fits or not os.access(_SHARED_MEMORY, os.W_OK) or room_in(_SHARED_MEMORY) < need:
        return None
    return _SHARED_MEMORY / f"warmline-{os.getuid()}"


def disk_for(need: int, state: Path | None) -> Path | None:
    """Return a directory on a local disk with room for ``need`` bytes; it may be others' too."""
    for place in _disks(state):
        fits = kind_of(place) not in MEMORY_KINDS and room_in(place) >= need
        if fits and is_trusted(place) and os.access(place, os.W_OK):
            return place
    return None


def is_trusted(place: Path) -> bool:
    """Return whether ``place`` is ours or root's: its owner decides what lies in it.

    Anybody may have made a directory of a known name in /tmp before us.
    """
    return place.stat().st_uid in (0, os.getuid())


def own_name() -> str:
    """Return what our directory on a disk of others is called."""
    return f"warmline-{os.getuid()}-files"


def _disks(state: Path | None) -> Iterator[Path]:
    for place in (state_dir(state), Path("/var/tmp"), Path("/tmp")):  # noqa: S108 - as above
        yield next(p for p in (place, *place.parents) if p.is_dir())
