"""Giant heads: a request line or field list without end, to make the node buffer or scan it."""

import pytest

from cache_server.data.request import MAX_HEAD
from tests.fakes.data_node import data_node
from tests.fakes.reader import Reader


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * MAX_HEAD, 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD, 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * (MAX_HEAD // 6), 431),
        (b"\r\n" * MAX_HEAD, 414),
    ],
)
def test_a_head_above_the_bound_is_refused_and_closed(tmp_path, head, status):
    with data_node(tmp_path) as node, node.connect() as reader:
        reader.send(head)
        assert reader.reply().status == status
        assert reader.ended()


def test_a_peer_that_goes_on_sending_after_the_refusal_is_dropped(tmp_path):
    with data_node(tmp_path) as node, node.connect() as reader:
        assert send_until_dropped(reader)
        assert node.plane.stats.refused == {"414": 1}


def send_until_dropped(reader: Reader) -> bool:
    try:
        while True:
            reader.send(b"a" * 2**16)
    except (ConnectionResetError, BrokenPipeError):
        return True
