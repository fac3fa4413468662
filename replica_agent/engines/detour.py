"""Where an engine's own loader finds a model when the hand-over fails: in the model's directory.

We bring it there ourselves, once per host, since an engine that downloads on its own takes
pickles where there is nothing else. What the library of an origin, or a directory, has of the
model is linked; a bucket's files lie beside the model's small files, and go with them.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from replica_agent.handover.place import Origin
from replica_agent.origin import Wanted, bring

_ROOM = ".origin"  # below the model's directory
_WHOLE = ".origin/.whole"  # there once everything is


def fetch(origin: Origin, directory: Path) -> None:
    """Complete ``directory``, which has the model's small files, from ``origin``.

    Raises:
        CacheError: the origin refuses, does not answer, or has nothing that is safe.
        OSError: there is no room for it.
    """
    with _alone(directory):
        if not (directory / _WHOLE).exists():
            (directory / _ROOM).mkdir(exist_ok=True)
            wanted = Wanted(origin.source, origin.revision, origin.files, origin.allow)
            bring(wanted, directory, directory / _ROOM)
            (directory / _WHOLE).touch()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one process of the host at a time: all ranks come here together."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
