"""An origin that sends a byte now and then: never silent, never done.

Each read succeeds in time, so that a time limit per read never strikes, and a fill with its
connections would be held for years.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cache_protocol.ranges import Span
from cache_server.core import drip
from cache_server.core.drip import DripError
from cache_server.core.reach import parse_reach
from cache_server.origins import connections
from cache_server.origins.connections import Connections
from cache_server.origins.ranged_http import RangedClient
from tests.fakes.peer import peer, trickle

SIZE = 10_000_000
ALL = Span(0, SIZE)
PART = f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-{SIZE - 1}/{SIZE}\r\n"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(drip, "WINDOW", 0.1)


@contextmanager
def dripping(head: str, drop: bytes = b"x") -> Iterator[RangedClient]:
    def answer(_head, sock):
        sock.sendall(f"{head}\r\n".encode())
        trickle(sock, drop)

    with peer(answer) as url:
        reach = parse_reach("", url)
        client = RangedClient(Connections(connect_timeout=2, stall_timeout=2, reach=reach))
        client.url = url
        yield client
        client.close()


def read(client: RangedClient, span: Span = ALL) -> None:
    into, at = memoryview(bytearray(span.size)), 0
    with client.get(client.url, span).download(span, SIZE, "weights") as download:
        while at < span.size:
            at += download.readinto(into[at:])


def test_a_body_that_drips_is_given_up():
    with (
        dripping(f"{PART}Content-Length: {SIZE}\r\n") as client,
        pytest.raises(DripError, match="weights: .* is the least"),  # noqa: RUF043 - a pattern
    ):
        read(client)


def test_chunks_that_drip_are_given_up():
    head = f"{PART}Transfer-Encoding: chunked\r\n"
    with dripping(head, b"1\r\nx\r\n") as client, pytest.raises(DripError):
        read(client)


def test_one_giant_chunk_that_drips_is_given_up():
    head = f"{PART}Transfer-Encoding: chunked\r\n\r\n{SIZE:x}"
    with dripping(head) as client, pytest.raises(DripError):
        read(client)


def test_what_comes_before_the_range_may_not_drip_either():
    whole = f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n"
    with dripping(whole) as client, pytest.raises(DripError):
        read(client, Span(SIZE - 1, SIZE))


def test_the_rest_of_a_body_that_nobody_needs_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(connections, "_DRAIN_TIME", 0.1)
    with dripping(f"{PART}Content-Length: 60000\r\n") as client:
        client.get(client.url, Span(0, SIZE)).close()
        assert not any(client._connections._idle.values())
