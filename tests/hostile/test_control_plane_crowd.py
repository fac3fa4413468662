"""Connections that say nothing, or one byte at a time, on the control port.

They cost whoever opens them next to nothing, and would take every descriptor of the node, so that
no replica gets its manifest.
"""

import socket
import time
from collections.abc import Iterator

import pytest

from cache_server.http.crowd import Crowd
from tests.fakes.control_plane import TOKEN, ControlPlane, control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, Bench, running_service

LIMIT = 30.0  # seconds; only a broken machine needs them


@pytest.fixture
def bench(tmp_path) -> Iterator[Bench]:
    origins = MemoryOrigins({SOURCE: MemoryOrigin({"config.json": b"{}"})})
    with running_service(tmp_path / "root", origins) as bench:
        yield bench


def connected(plane: ControlPlane) -> socket.socket:
    return socket.create_connection(("127.0.0.1", plane.port), LIMIT)


def ended(sock: socket.socket) -> bool:
    """Whether the node ends the connection, without an answer, before the test's limit."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("said", [b"", b"GET /healthz HT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
def test_who_does_not_come_to_the_end_of_a_head_is_sent_away(bench, said):
    with control_plane(bench.service, crowd=Crowd(patience=0.2)) as plane, connected(plane) as sock:
        sock.sendall(said)
        assert ended(sock)


def test_one_byte_at_a_time_wins_no_time(bench):
    with control_plane(bench.service, crowd=Crowd(patience=0.5)) as plane, connected(plane) as sock:
        deadline = time.monotonic() + LIMIT
        sock.settimeout(0.05)  # between two bytes
        while not has_had_enough(sock):
            assert time.monotonic() < deadline


def has_had_enough(sock: socket.socket) -> bool:
    """Send one more byte of a head; return whether the node has ended the connection."""
    try:
        sock.sendall(b"G")
        return sock.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_who_was_answered_may_not_stay_for_ever_either(bench):
    with control_plane(bench.service, crowd=Crowd(patience=0.2)) as plane, connected(plane) as sock:
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}"):
            answer += sock.recv(4096)
        sock.sendall(b"GET /heal")
        assert ended(sock)


def test_of_a_crowd_the_one_that_waited_longest_goes_and_who_asks_is_answered(bench):
    with control_plane(bench.service, crowd=Crowd(limit=20)) as plane:
        idle = [connected(plane) for _ in range(60)]
        try:
            assert plane.ask("GET", "/v1/status").status == 200
            assert all(ended(sock) for sock in idle[:40])
        finally:
            for sock in idle:
                sock.close()


def test_a_body_that_does_not_come_is_answered_408(bench, monkeypatch):
    monkeypatch.setattr("cache_server.http.door.BODY_LIMIT", 0.2)
    with control_plane(bench.service) as plane, connected(plane) as sock:
        head = f"PUT /v1/pipelines/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        sock.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert sock.recv(4096).startswith(b"HTTP/1.1 408 ")
