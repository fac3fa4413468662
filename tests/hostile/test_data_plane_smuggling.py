"""Request smuggling: heads that two readers could cut at different places (CL, TE, folds)."""

import pytest

from tests.fakes.data_node import data_node
from tests.fakes.reader import target

SHAPES = [
    ("Content-Length: 5", 400),
    ("Content-Length: +0", 400),
    ("Content-Length: 0\r\nContent-Length: 0", 400),
    ("Content-Length: 0, 0", 400),
    ("Transfer-Encoding: chunked", 400),
    ("Content-Length: 0\r\nTransfer-Encoding: chunked", 400),
    ("Transfer-Encoding: xchunked", 501),
    ("Transfer-Encoding: identity", 501),
    ("Transfer-Encoding:\x0bchunked", 400),
    ("Transfer-Encoding : chunked", 400),
    ("X: y\r\n Content-Length: 5", 400),  # obs-fold
    ("X: y\nContent-Length: 5", 400),  # bare LF
    ("X: y\rContent-Length: 5", 400),  # bare CR
    ("Host: other", 400),  # twice
    (": empty name", 400),
]


@pytest.mark.parametrize(("fields", "status"), SHAPES)
def test_an_ambiguous_request_is_refused_and_what_follows_is_never_read(tmp_path, fields, status):
    with data_node(tmp_path) as node, node.connect() as reader:
        node.shelf.add("a", b"weights")
        hidden = f"GET {target('a')} HTTP/1.1\r\nHost: h\r\n\r\n"
        head = f"GET {target('a')} HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n"
        reader.send((head + hidden).encode("latin-1"))
        assert reader.reply().status == status
        assert reader.ended()
        assert node.plane.stats.requests == 0


def test_an_ambiguous_request_behind_a_good_one_ends_the_connection(tmp_path):
    with data_node(tmp_path) as node, node.connect() as reader:
        node.shelf.add("a", b"weights")
        good = f"GET {target('a')} HTTP/1.1\r\nHost: h\r\n"
        reader.send(f"{good}\r\n{good}Content-Length: 3\r\n\r\n{good}\r\n".encode())
        assert reader.reply().body == b"weights"
        assert reader.reply().status == 400
        assert reader.ended()
