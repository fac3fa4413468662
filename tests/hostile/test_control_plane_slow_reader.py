"""Callers that ask for much and take little or nothing of it, to fill the node's memory."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from cache_server.http.crowd import Crowd
from cache_server.http.unread import Unread
from tests.fakes.control_plane import TOKEN, ControlPlane, control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, Bench, running_service

LIMIT = 30.0  # seconds; only a broken machine needs them
ASK = f"GET /openapi.json HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
TIMES = 50  # answers of 10 kB and more; more than the kernel keeps for both ends
KERNEL = 2**15  # bytes that it keeps for either end, about


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    origins = MemoryOrigins({SOURCE: MemoryOrigin({"config.json": b"{}"})})
    with running_service(tmp_path / "root", origins) as bench:
        yield bench


@contextmanager
def silent(plane: ControlPlane) -> Iterator[socket.socket]:
    """Ask for much in one go and read nothing, so that most of it stays with the node."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL)
        sock.settimeout(LIMIT)
        sock.connect(("127.0.0.1", plane.port))
        sock.sendall(ASK * TIMES)
        yield sock


def until(condition) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_who_takes_nothing_of_an_answer_is_sent_away(bench):
    crowd = Crowd(unread=Unread(term=0.2))
    with control_plane(bench.service, crowd=crowd, send_buffer=KERNEL) as plane, silent(plane):
        until(lambda: crowd.unread.given_up == 1)
        assert plane.ask("GET", "/v1/status").status == 200


def test_who_takes_an_answer_at_its_pace_gets_all_of_it_and_may_take_its_time(bench):
    crowd = Crowd(patience=0.2, unread=Unread(term=0.2, pace=1))
    with (
        control_plane(bench.service, crowd=crowd, send_buffer=KERNEL) as plane,
        silent(plane) as sock,
    ):
        until(lambda: crowd.unread._reading)
        answers = sock.recv(2**16)
        while answers.count(b"HTTP/1.1 200 OK") < TIMES:
            more = sock.recv(2**16)
            assert more, "the node ended the connection before its answers were taken"
            answers += more
    assert crowd.unread.given_up == 0


def test_of_too_much_that_nobody_takes_the_oldest_goes(bench):
    crowd = Crowd(unread=Unread(limit=100_000, term=LIMIT))  # one of them; each has 64 KiB
    with (
        control_plane(bench.service, crowd=crowd, send_buffer=KERNEL) as plane,
        ExitStack() as stack,
    ):
        for _ in range(3):
            stack.enter_context(silent(plane))
        until(lambda: crowd.unread.given_up >= 2)
        assert plane.ask("GET", "/v1/status").status == 200
        assert len(crowd.unread._reading) == 1
