import threading
from datetime import timedelta

from cache_server.stopping import Drain, Stopping

LIMIT = 30.0  # seconds; nothing here takes one


class Node:
    """Somebody who drains, with as many readers as the test says."""

    def __init__(self, readers: int = 0, limit: float = 3600) -> None:
        self.readers = readers
        self.looked, self.drained, self.over = (threading.Event() for _ in range(3))
        stopping = Stopping(self.drained.set, self._readers, lambda: None, timedelta(seconds=limit))
        self.drain = Drain(stopping, self.over.set)
        self.drain.begin()

    def _readers(self) -> int:
        self.looked.set()
        return self.readers


def test_without_readers_a_drain_is_over_at_once():
    node = Node()
    assert node.over.wait(LIMIT)
    assert node.drained.wait(LIMIT)


def test_a_drain_is_over_when_the_last_reader_is_done():
    node = Node(readers=2)
    assert node.looked.wait(LIMIT)
    assert not node.over.is_set()
    node.readers = 0
    assert node.over.wait(LIMIT)


def test_a_drain_is_over_at_its_limit_although_somebody_reads(caplog):
    node = Node(readers=2, limit=0)
    assert node.over.wait(LIMIT)
    assert "2 readers are cut off" in caplog.text


def test_who_is_in_a_hurry_waits_for_no_reader():
    node = Node(readers=1)
    node.drain.hurry()
    assert node.over.wait(LIMIT)


def test_a_drain_that_waits_for_a_hung_disk_ends_at_its_limit_all_the_same():
    hangs = threading.Event()
    over = threading.Event()
    stopping = Stopping(hangs.wait, lambda: 1, lambda: None, timedelta(0))
    Drain(stopping, over.set).begin()
    assert over.wait(LIMIT)
    hangs.set()
