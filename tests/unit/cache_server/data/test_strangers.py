import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from cache_server.data.connection import Connection
from cache_server.data.stats import Tally
from cache_server.data.strangers import Strangers


@pytest.fixture
def three() -> Iterator[list[Connection]]:
    with ExitStack() as stack:
        yield [Connection(stack.enter_context(socket.socket()), Tally()) for _ in range(3)]


def test_they_stand_in_the_order_in_which_they_came_and_not_in_that_of_waiting(three):
    strangers = Strangers()
    for connection in (three[1], three[2], three[0]):
        strangers.add(connection)
    assert list(strangers) == three


def test_who_is_discarded_is_one_of_them_no_more_and_who_was_none_is_fine(three):
    strangers = Strangers()
    for connection in three[::2]:
        strangers.add(connection)
    for connection in three[:2]:
        strangers.discard(connection)
    assert list(strangers) == [three[2]]
