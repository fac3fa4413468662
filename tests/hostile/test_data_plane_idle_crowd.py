"""Hundreds of connections that never ask anything, to use up threads or starve honest readers."""

from tests.fakes.data_node import data_node
from tests.fakes.reader import Reader, target

CROWD = 400  # both ends live in this process, below the usual 1024 descriptors


def test_idle_connections_cost_no_thread_and_no_answer(tmp_path):
    with data_node(tmp_path) as node:
        node.shelf.add("a", b"weights")
        crowd = [Reader(node.plane.address) for _ in range(CROWD)]
        with node.connect() as honest:
            assert honest.get(target("a")).body == b"weights"
        assert node.plane.stats.connections >= CROWD
        assert len(node.plane._workers._threads) == 1
        for reader in crowd:
            reader.sock.close()
