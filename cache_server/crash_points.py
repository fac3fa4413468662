"""Named points at which a test may kill the node, to prove that a restart finds its way.

Each point is where a crash leaves the disk in a state of its own. Nothing happens in production:
a point costs one comparison. ``__main__`` arms one from WARMLINE_CRASH_AT=<point>[:<nth time>].
"""

import os
import signal
import threading

POINTS = frozenset(
    {
        "fill.laying-out",  # a file allocated, others not; room taken and no word of it
        "fill.laid-out",  # files allocated, no byte in them
        "fill.chunk-written",  # bytes on disk, not in the digest table
        "fill.chunk-recorded",  # bytes and digest on disk
        "fill.file-whole",  # every chunk there, sha256 not confirmed
        "fill.file-confirmed",  # sha256 confirmed, not synced
        "publish.synced",  # everything on disk but generation.json
        "publish.renamed",  # generation.json in place, directory not synced
        "damage.declared",  # a file is lost: generation.json taken back, the file not yet made anew
        "repair.chunk-written",  # a chunk brought anew, not synced
        "remove.begun",  # out of its slot, files still in the trash
    }
)

_armed: str | None = None
_left = 0
_lock = threading.Lock()


def arm(setting: str) -> None:
    """Kill this process at ``<point>[:<nth>]``.

    Raises:
        ValueError: there is no such point.
    """
    global _armed, _left
    point, _, nth = setting.partition(":")
    if point not in POINTS:
        raise ValueError(f"{point!r} is no crash point; there are {', '.join(sorted(POINTS))}")
    _armed, _left = point, int(nth or 1)


def reached(point: str) -> None:
    """Die here, as by ``kill -9``, if a test has armed this point."""
    if _armed is None or point != _armed:
        return
    global _left  # noqa: PLW0603 - counted down under the lock
    with _lock:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
