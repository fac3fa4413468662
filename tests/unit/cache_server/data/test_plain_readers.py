"""Clients of the hub, which a door sends to the data plane: they wait ten seconds, or for a 429."""

import json
import random
from contextlib import contextmanager
from dataclasses import replace

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import OriginDeniedError, OriginUnavailableError
from cache_server.data.plain import MARK
from tests.fakes.data_node import QUICK, data_node
from tests.fakes.reader import target

BIG = random.Random(7).randbytes(3 * CHUNK_SIZE - 1000)


@pytest.fixture
def node(tmp_path):
    with data_node(tmp_path, replace(QUICK, soon=0.01)) as running:
        yield running


@pytest.fixture
def reader(node):
    with node.connect() as connected:
        yield connected


def plain(path: str) -> str:
    return f"{target(path)}&{MARK}"


def test_what_is_there_is_sent_as_to_anybody(node, reader):
    node.shelf.add("a", BIG)
    reply = reader.get(plain("a"), f"Range: bytes={CHUNK_SIZE}-")
    assert (reply.status, reply.body) == (206, BIG[CHUNK_SIZE:])


def test_a_first_byte_that_takes_long_is_asked_for_again_later(node, reader):
    node.shelf.add("a", BIG, present=set())
    reply = reader.get(plain("a"))
    assert (reply.status, reply.fields["retry-after"]) == (429, "5")
    assert "no byte came within" in json.loads(reply.body)["detail"]


def test_the_chunk_that_it_came_back_for_is_sent(node, reader):
    file = node.shelf.add("a", BIG, present=set())
    assert reader.get(plain("a"), f"Range: bytes={CHUNK_SIZE}-").status == 429
    file.land(1)
    reader.ask(plain("a"), f"Range: bytes={CHUNK_SIZE}-{2 * CHUNK_SIZE - 1}")
    assert reader.reply().body == BIG[CHUNK_SIZE : 2 * CHUNK_SIZE]


def test_bytes_that_come_later_than_the_first_are_waited_for(node, reader):
    file = node.shelf.add("a", BIG, present={0})
    reader.ask(plain("a"))
    assert reader.head()[0] == 200
    assert reader.take(CHUNK_SIZE) == BIG[:CHUNK_SIZE]
    for chunk in (1, 2):
        file.land(chunk)
    assert reader.take(len(BIG) - CHUNK_SIZE) == BIG[CHUNK_SIZE:]


def test_an_agent_is_not_sent_away(node, reader):
    file = node.shelf.add("a", BIG, present=set())
    reader.ask(target("a"))
    for chunk in range(3):
        file.land(chunk)
    assert reader.reply().body == BIG


def test_a_fill_that_failed_for_now_is_waited_for(node, reader):
    node.shelf.add("a", BIG, present=set()).fail(OriginUnavailableError("429", retry_after=7))
    reply = reader.get(plain("a"))
    assert (reply.status, reply.fields["retry-after"]) == (429, "7")


def test_nobody_is_asked_to_wait_for_hours(node, reader):
    node.shelf.add("a", BIG, present=set()).fail(OriginUnavailableError("429", retry_after=7200))
    assert reader.get(plain("a")).fields["retry-after"] == "60"


def test_a_fill_that_failed_for_good_is_not_waited_for(node, reader):
    node.shelf.add("a", BIG, present=set()).fail(OriginDeniedError("gated"))
    assert reader.get(plain("a")).status == 503


def test_the_mark_opens_nothing(node, reader):
    node.shelf.add("a", BIG)
    assert reader.get(f"{target('a').partition('?')[0]}?{MARK}").status == 403


def test_what_passes_through_and_does_not_come_is_asked_for_again_later(node, reader):
    file = node.shelf.add("a", BIG)
    with silent(file):
        reply = reader.get(plain("a"))
    assert (reply.status, reply.fields["retry-after"]) == (429, "5")


@contextmanager
def silent(file):
    """Have ``file`` come from an origin that only ever asks to be tried again."""

    def stream(_span, pause):
        while True:
            pause(0.02)
            yield from ()

    file.stream = stream
    yield
