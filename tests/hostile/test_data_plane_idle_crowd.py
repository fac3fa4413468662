"""Hundreds of connections that never ask anything, to use up threads or starve honest readers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from cache_server.data import connection
from tests.fakes.data_node import QUICK, DataNode, data_node, settled
from tests.fakes.reader import Reader, target

CROWD = 400  # both ends live in this process, below the usual 1024 descriptors


@contextmanager
def idle_crowd(node: DataNode, size: int) -> Iterator[list[Reader]]:
    with ExitStack() as stack:
        yield [stack.enter_context(node.connect()) for _ in range(size)]


def test_idle_connections_cost_no_thread_and_no_answer(tmp_path):
    with data_node(tmp_path) as node, idle_crowd(node, CROWD):
        node.shelf.add("a", b"weights")
        with node.connect() as honest:
            assert honest.get(target("a")).body == b"weights"
        assert node.plane.stats.connections >= CROWD
        assert len(node.plane._workers._threads) == 1


def test_of_a_crowd_without_tickets_the_one_that_waited_longest_goes(tmp_path):
    with (
        data_node(tmp_path, replace(QUICK, connections=20)) as node,
        idle_crowd(node, 60) as crowd,
        node.connect() as honest,
    ):
        node.shelf.add("a", b"weights")
        assert honest.get(target("a")).body == b"weights"
        assert all(reader.ended() for reader in crowd[:40])
        assert node.plane.stats.refused == {"crowded": 41}


def test_who_has_shown_a_ticket_does_not_go_for_a_crowd(tmp_path):
    with data_node(tmp_path, replace(QUICK, connections=20)) as node, node.connect() as honest:
        node.shelf.add("a", b"weights")
        assert honest.get(target("a")).status == 200
        with idle_crowd(node, 60):
            assert settled(lambda: node.plane.stats.refused == {"crowded": 41})
            assert honest.get(target("a")).body == b"weights"


def test_a_wrong_ticket_makes_nobody_known(tmp_path):
    with data_node(tmp_path, replace(QUICK, connections=1)) as node, node.connect() as stranger:
        node.shelf.add("a", b"weights")
        assert stranger.get(target("a") + "x").status == 403
        assert settled(lambda: list(node.plane._poller._strangers))
        with node.connect() as honest:
            assert honest.get(target("a")).body == b"weights"
        assert stranger.ended()


def test_who_asks_without_a_ticket_grows_no_younger_by_it(tmp_path):
    with (
        data_node(tmp_path, replace(QUICK, connections=2)) as node,
        node.connect() as stranger,
        node.connect() as replica,
    ):
        node.shelf.add("a", b"weights")
        waiting = node.plane._poller._strangers
        assert settled(lambda: len(list(waiting)) == 2)
        assert stranger.get(target("a") + "x").status == 403
        assert settled(lambda: len(list(waiting)) == 2)
        with node.connect():
            assert stranger.ended()
            assert replica.get(target("a")).body == b"weights"


def test_no_worker_lingers_for_who_has_shown_no_ticket(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "LINGER", 60_000)
    with data_node(tmp_path) as node, node.connect() as stranger:
        assert stranger.get(target("a") + "x").status == 403
        assert settled(lambda: node.plane.stats.active == 0)
