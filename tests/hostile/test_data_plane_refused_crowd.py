"""A crowd that sends nonsense and stays to read that it was refused, in the places of replicas."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

from tests.fakes.data_node import QUICK, DataNode, data_node
from tests.fakes.reader import target

LONG = replace(QUICK, connections=8, refusing=3, drain_time=60)


@contextmanager
def refused_crowd(node: DataNode, size: int) -> Iterator[None]:
    """Have ``size`` refused, one after the other; none of them leaves before the end."""
    with ExitStack() as stack:
        for _ in range(size):
            stranger = stack.enter_context(node.connect())
            stranger.send(b"nonsense\r\n\r\n")
            assert stranger.reply().status == 400
        yield


def test_who_was_refused_takes_the_place_of_nobody(tmp_path):
    with data_node(tmp_path, LONG) as node:
        node.shelf.add("a", b"weights")
        with refused_crowd(node, LONG.connections), node.connect() as replica:
            assert replica.get(target("a")).body == b"weights"


def test_who_was_refused_stays_within_the_bound_of_descriptors(tmp_path):
    bound = LONG.connections + LONG.refusing
    with data_node(tmp_path, LONG) as node, refused_crowd(node, 3 * LONG.connections):
        assert node.plane.stats.connections <= bound
