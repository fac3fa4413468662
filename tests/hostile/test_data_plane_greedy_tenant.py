"""A tenant that opens more connections for data than it may, to leave none for the others."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.fakes.data_node import DataNode, data_node, settled
from tests.fakes.reader import Reader, target

QUOTA = 3
GREEDY = target("a", tenant="greedy")


@pytest.fixture
def node(tmp_path) -> Iterator[DataNode]:
    with data_node(tmp_path, connections_of={"greedy": QUOTA}.get) as node:
        node.shelf.add("a", b"weights")
        yield node


@contextmanager
def as_many_as_it_may(node: DataNode) -> Iterator[list[Reader]]:
    with ExitStack() as stack:
        readers = [stack.enter_context(node.connect()) for _ in range(QUOTA)]
        assert [reader.get(GREEDY).status for reader in readers] == [200] * QUOTA
        yield readers


def test_one_connection_more_than_its_quota_is_told_to_come_back(node):
    with as_many_as_it_may(node), node.connect() as further:
        reply = further.get(GREEDY)
        assert (reply.status, reply.fields["retry-after"]) == (429, "1")
        problem = json.loads(reply.body)
        assert problem["code"] == "quota"
        assert problem["numbers"] == {"limit": QUOTA, "used": QUOTA}


def test_other_tenants_are_served_as_ever(node):
    with as_many_as_it_may(node), node.connect() as other:
        assert other.get(target("a", tenant="modest")).body == b"weights"


def test_those_that_it_has_go_on(node):
    with as_many_as_it_may(node) as readers, node.connect() as further:
        assert further.get(GREEDY).status == 429
        assert [reader.get(GREEDY).status for reader in readers] == [200] * QUOTA


def test_a_connection_that_ended_makes_room_for_another(node):
    with as_many_as_it_may(node) as readers, node.connect() as further:
        readers[0].sock.close()
        assert settled(lambda: further.get(GREEDY).status == 200)


def test_a_connection_counts_for_the_tenant_of_its_last_ticket(node):
    with as_many_as_it_may(node) as readers, node.connect() as further:
        assert readers[0].get(target("a", tenant="modest")).status == 200
        assert further.get(GREEDY).status == 200
