"""Targets with NUL, control, blank or non-ASCII bytes, raw and as escapes, to slip past a check."""

import pytest

from tests.fakes.data_node import data_node
from tests.fakes.reader import signed
from tests.fakes.shelf import GENERATION


@pytest.mark.parametrize("byte", [b"\x00", b"\x01", b"\t", b" ", b"\x7f", b"\x80", b"\xff", b"#"])
def test_a_raw_byte_outside_visible_ascii_is_malformed(tmp_path, byte):
    with data_node(tmp_path) as node, node.connect() as reader:
        reader.send(b"GET /files/g/m/a" + byte + b"b HTTP/1.1\r\nHost: h\r\n\r\n")
        assert reader.reply().status == 400
        assert reader.ended()


@pytest.mark.parametrize("name", ["a%00", "a%ff", "a%", "a%zz", "%F0%9F%A4%97", "a%0d%0aX:%20y"])
def test_an_escape_names_nothing_and_harms_nothing(tmp_path, name):
    with data_node(tmp_path) as node, node.connect() as reader:
        node.shelf.add("a", b"weights")
        reply = reader.get(signed(f"/files/{GENERATION}/m/{name}"))
        assert reply.status == 404
        assert "x" not in reply.fields
