"""Spoiled requests in any pieces on one connection: to get too many answers, or end others'."""

import logging
import socket
from collections.abc import Iterator
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from cache_server.data.request import RefusedError, parse_request
from tests.fakes.data_node import DataNode, data_node
from tests.fakes.reader import target
from tests.hostile.mutations import hunt, spoiled

WEIGHTS = bytes(range(256)) * 40
PIECES = [b"\r\n", b"\n", b" ", b":", b"\x00", b"Content-Length: 5\r\n", b"Connection: close\r\n"]
FIELDS = ["", "Range: bytes=0-9\r\n", "Range: bytes=99999-\r\n", "Range: bytes=5-\r\n", "X: y\r\n"]
MANY = 2**31  # seconds since 1970: the same tickets every time, good until 2038


def request(path: str, fields: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n".encode()


GOOD = target("a", expires=MANY)
TARGETS = [GOOD, GOOD, target("b", expires=MANY), target("a", expires=1), "/files", GOOD[:-1]]
whole = st.builds(request, st.sampled_from(TARGETS), st.sampled_from(FIELDS))
messages = st.lists(whole | whole | spoiled(request(GOOD), PIECES, most=2), min_size=1, max_size=5)


def expected(data: bytes) -> Iterator[int | None]:
    """Yield for each answer that ``data`` must get its status, None: any."""
    try:
        while (parsed := parse_request(data)) is not None:
            yield None
            if not parsed[0].keep_alive:
                return
            data = data[parsed[1] :]
    except RefusedError as error:
        yield error.status


def check(node: DataNode, data: bytes, cuts: list[int]) -> None:
    with node.connect() as reader:
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            with suppress(OSError):  # it was refused, and closed, before all was sent
                reader.send(data[begin:end])
        for status in expected(data):
            reply = reader.reply()
            assert reply.whole
            assert status in (None, reply.status)
            assert reply.status != 200 or reply.body == WEIGHTS
            assert reply.status < 500 or reply.status in (501, 505)
        with suppress(OSError):  # closed already
            reader.sock.shutdown(socket.SHUT_WR)
        assert reader.ended()


def test_each_request_has_one_answer_however_it_came_and_others_are_served(tmp_path, caplog):
    with data_node(tmp_path) as node, node.connect() as other:
        node.shelf.add("a", WEIGHTS)

        @hunt(150)
        @given(messages, st.lists(st.integers(0, 2000), max_size=4))
        def attack(parts: list[bytes], places: list[int]) -> None:
            data = b"".join(parts)
            check(node, data, sorted(place % (len(data) + 1) for place in places))
            assert other.get(GOOD).body == WEIGHTS

        attack()
    assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []
