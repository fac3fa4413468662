"""Pull a pipeline into a directory: verified files as ``DIR/<model>/<path>``, nothing else.

A file has its name only when its verdict is in; what is there under that name already is
replaced in one step. Whatever ends the pull, no half file and no hidden directory stays.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from replica_agent.arenas.directory import Destination
from replica_agent.client import ControlClient
from replica_agent.pull import LANES, Pull


@contextmanager
def pull_to(
    client: ControlClient,
    pipeline: str,
    to: Path,
    *,
    lanes: int = LANES,
    origin: float | None = None,
) -> Iterator[Pull]:
    """Start to pull ``pipeline`` into ``to``; the caller waits for the pull.

    Raises:
        OSError: ``to`` cannot be written.
    """
    destination = Destination(to)
    try:
        with Pull(client, pipeline, destination.open_arenas, lanes=lanes, origin=origin) as pull:
            yield pull
    finally:
        destination.close()
