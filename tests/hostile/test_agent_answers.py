"""Answers of the data plane that lie, never end, or drip: bounded memory, bounded time."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest

from cache_protocol.errors import ServerUnreachableError
from replica_agent.connection import Connection
from replica_agent.core.answers import MAX_HEAD, LostError
from replica_agent.core.urls import Endpoint
from tests.fakes.agents import pull
from tests.fakes.node import FakeNode

GOOD = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/1\r\nContent-Length: 1\r\n\r\na"


@pytest.fixture
def node():
    with FakeNode({"asr": {"a.dat": b"a"}}) as node:
        yield node


@pytest.mark.parametrize(
    "answer",
    [
        GOOD.replace(b"0-0/1", b"0-0/2"),
        GOOD.replace(b"0-0/1", b"1-1/1"),
        GOOD.replace(b"Length: 1", b"Length: 99999999999999999"),
        GOOD.replace(b"206 Partial Content", b"200 OK"),
        GOOD.replace(b"206 Partial Content", b"302 Found"),
        GOOD.replace(b"206 Partial Content", b"100 Continue"),
        GOOD.replace(b"HTTP/1.1", b"HTTP/2.0"),
        GOOD.replace(b"Content-Length: 1\r\n", b"Content-Length: 1\r\nContent-Length: 2\r\n"),
        GOOD.replace(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        b"HTTP/1.1 206 OK\r\n" + b"X-Filler: yes\r\n" * MAX_HEAD,
        b"a" * 2 * MAX_HEAD,
        b"HTTP/1.1 503 No\r\nContent-Length: 9999999999\r\n\r\n",
        b"",
    ],
)
def test_an_answer_that_lies_is_dropped_and_asked_for_again(node, answer):
    node.faults.raw.append(("files", answer))
    assert pull(node, patience=10).current.verified_bytes == 1
    assert len(node.requests("files")) == 2


def test_a_node_that_only_lies_is_given_up(node):
    node.faults.raw += [("files", GOOD.replace(b"0-0/1", b"0-0/2"))] * 100
    with pytest.raises(ServerUnreachableError, match="0-0/2"):
        pull(node)


def test_a_digest_table_of_another_length_is_dropped(node):
    short = GOOD.replace(b"0-0/1", b"0-14/15").replace(b"Length: 1", b"Length: 15")[:-1] + b"d" * 15
    node.faults.raw.append(("digests", short))
    assert pull(node, patience=10).current.verified_bytes == 1


def test_a_verdict_of_another_length_is_dropped(node):
    node.faults.raw.append(("verdicts", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
    assert pull(node, patience=10).current.verified_bytes == 1


@contextmanager
def dripping(data, pause=0.01):
    """Serve ``data`` byte by byte, then nothing, to one connection."""
    gone = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))

    def drip():
        connection, _ = server.accept()
        with connection:
            for byte in data:
                if gone.wait(pause):
                    return
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return
            gone.wait()

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield Endpoint(*server.getsockname())
    finally:
        gone.set()
        thread.join()
        server.close()


def within(seconds):
    return time.monotonic() + seconds


def test_a_body_that_drips_is_a_stall(node):
    with dripping(b"x" * 10_000) as endpoint:
        connection = Connection(endpoint, stall=0.2)
        connection.open()
        deadline = within(5)
        with pytest.raises(LostError, match="in time"):
            connection.read(10_000)
        connection.close()
    assert time.monotonic() < deadline


def test_a_head_that_drips_is_a_stall(monkeypatch):
    monkeypatch.setattr("replica_agent.connection.HEAD_TIMEOUT", 0.1)
    with dripping(GOOD * 100) as endpoint:
        connection = Connection(endpoint, stall=1)
        connection.open()
        deadline = within(5)
        with pytest.raises(LostError, match="takes more than"):
            connection.head()
        connection.close()
    assert time.monotonic() < deadline


def test_silence_is_a_stall():
    with dripping(b"") as endpoint:
        connection = Connection(endpoint, stall=0.1)
        connection.open()
        with pytest.raises(LostError, match="nothing in time"):
            connection.head()
        connection.close()
