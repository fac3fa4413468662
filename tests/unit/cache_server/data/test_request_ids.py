"""What the data plane logs about a reader is found by the id of the reader's start."""

import logging

import pytest

from cache_server.core.tracing import request_id
from tests.fakes.data_node import data_node
from tests.fakes.reader import target


class Ids(logging.Handler):
    def __init__(self):
        super().__init__()
        self.ids = []

    def emit(self, record):
        self.ids.append(request_id.get())


@pytest.fixture
def ids():
    handler, log = Ids(), logging.getLogger("cache_server.data")
    log.addHandler(handler)
    yield handler.ids
    log.removeHandler(handler)


def test_each_line_is_about_the_request_that_it_is_about(tmp_path, ids):
    with data_node(tmp_path) as node, node.connect() as reader:
        node.shelf.add("gone", b"bytes").path.unlink()
        for line in ("X-Request-Id: start-1", "X-Request-Id: a b", "Accept: x/y"):
            assert reader.get(target("gone"), line).status == 503
    assert ids == ["start-1", None, None]
