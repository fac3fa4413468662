"""A running byte plane over a fake shelf, with limits short enough for a test to see them act."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cache_server.data.limits import Limits
from cache_server.data.plane import DataPlane
from tests.fakes.reader import KEYS, Reader
from tests.fakes.shelf import FakeShelf

QUICK = Limits(drain_time=0.2, wait_slice=0.05, accept_pause=0.05)


@dataclass
class DataNode:
    shelf: FakeShelf
    plane: DataPlane

    def connect(self) -> Reader:
        return Reader(self.plane.address)


@contextmanager
def data_node(directory: Path, limits: Limits = QUICK, **more: object) -> Iterator[DataNode]:
    """Yield a plane that accepts; every descriptor that its files opened is closed at the end."""
    shelf = FakeShelf(directory)
    plane = DataPlane(shelf, lambda: KEYS, host="127.0.0.1", port=0, limits=limits, **more)
    plane.start()
    try:
        yield DataNode(shelf, plane)
    finally:
        plane.close()
    assert plane.stats.connections == plane.stats.active == 0


def settled(condition: Callable[[], object]) -> bool:
    """Wait for what another thread does after the bytes that a test can see."""
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.001)
    return True
