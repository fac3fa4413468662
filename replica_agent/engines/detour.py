"""Where an engine's own loader finds a model when the hand-over fails: at its origin.

hf://org/name         the engine downloads, as it would have without us
file:///directory     the directory
s3://bucket/prefix    we download, once per host, beside the model's small files; it goes
                      with them
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from replica_agent.handover.place import Origin
from replica_agent.origin import Wanted, bring

_ROOM = ".origin"  # below the model's directory
_WHOLE = ".origin/.whole"  # there once everything is


class Location(NamedTuple):
    """A model as engines name it."""

    model: str  # a directory, or a repository
    revision: str | None = None


def locate(origin: Origin, directory: Path) -> Location:
    """Return where ``origin`` is to be loaded from; ``directory`` has the model's small files.

    Raises:
        CacheError: a download failed.
        OSError: there is no room for it.
    """
    scheme, _, name = origin.source.partition("://")
    if scheme == "hf":
        repository, _, revision = name.partition("@")
        return Location(repository, origin.revision or revision or None)
    if scheme == "file":
        return Location(name)
    with _alone(directory):
        if not (directory / _WHOLE).exists():
            (directory / _ROOM).mkdir(exist_ok=True)
            wanted = Wanted(origin.source, origin.revision, allow=origin.allow)
            bring(wanted, directory, directory / _ROOM)
            (directory / _WHOLE).touch()
    return Location(str(directory))


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one process of the host at a time: all ranks come here together."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
