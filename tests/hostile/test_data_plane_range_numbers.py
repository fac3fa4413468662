"""Range numbers that overflow, run backwards or never end, to read outside or burn time."""

import pytest

from tests.fakes.data_node import data_node
from tests.fakes.reader import target

WEIGHTS = bytes(range(100))


@pytest.mark.parametrize(
    ("header", "status", "body"),
    [
        ("bytes=0-9223372036854775807", 206, WEIGHTS),
        ("bytes=0-999999999999999999", 206, WEIGHTS),
        ("bytes=-999999999999999999", 206, WEIGHTS),
        ("bytes=999999999999999999-", 416, None),
        ("bytes=18446744073709551615-18446744073709551616", 416, None),
        ("bytes=100-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-5", 200, WEIGHTS),
        ("bytes=--5", 200, WEIGHTS),
        ("bytes=0-0," + "1-1," * 2000, 200, WEIGHTS),
        ("bytes=" + "9" * 10_000 + "-", 200, WEIGHTS),
        ("bytes=\xb2-\xb3", 200, WEIGHTS),  # digits of another script
        ("lines=1-2", 200, WEIGHTS),
    ],
)
def test_a_range_gives_bytes_of_the_file_or_none(tmp_path, header, status, body):
    with data_node(tmp_path) as node, node.connect() as reader:
        node.shelf.add("a", WEIGHTS)
        ask = f"GET {target('a')} HTTP/1.1\r\nHost: h\r\nRange: {header}\r\n\r\n"
        reader.send(ask.encode("latin-1"))
        reply = reader.reply()
        assert reply.status == status
        assert body is None or reply.body == body


def test_two_range_fields_are_no_range(tmp_path):
    with data_node(tmp_path) as node, node.connect() as reader:
        node.shelf.add("a", WEIGHTS)
        assert reader.get(target("a"), "Range: bytes=0-1", "Range: bytes=5-6").status == 200
