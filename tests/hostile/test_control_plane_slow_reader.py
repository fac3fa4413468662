"""Callers that ask for much and take little or nothing of it, to fill the node's memory.

In plain text and with TLS: what is encrypted already waits somewhere else in the node.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import pytest

from cache_server.catalogue.registry import Key
from cache_server.certificates import Certificates
from cache_server.core.content import ModelSpec
from cache_server.http.crowd import Crowd
from cache_server.http.encrypted import Encryption
from cache_server.http.unread import Unread
from tests.fakes.certificates import Authority
from tests.fakes.control_plane import TOKEN, ControlPlane, control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, Bench, running_service

LIMIT = 30.0  # seconds; only a broken machine needs them
TIMES = 50  # answers; more than the kernel keeps for both ends
LISTING = "/v1/pipelines"
KERNEL = 2**15  # bytes that it keeps for either end, about


@dataclass
class Target:
    """A node whose kernel keeps little for each peer."""

    bench: Bench
    encryption: Encryption | None
    context: ssl.SSLContext | None

    def serve(self, crowd: Crowd) -> AbstractContextManager[ControlPlane]:
        return control_plane(
            self.bench.service, crowd=crowd, encryption=self.encryption, send_buffer=KERNEL
        )

    @contextmanager
    def connected(self, plane: ControlPlane) -> Iterator[socket.socket]:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, KERNEL)
            sock.settimeout(LIMIT)
            sock.connect(("127.0.0.1", plane.port))
            if self.context is None:
                yield sock
                return
            with self.context.wrap_socket(sock, server_hostname="127.0.0.1") as encrypted:
                yield encrypted

    @contextmanager
    def silent(
        self, plane: ControlPlane, path: str = "/openapi.json", times: int = TIMES
    ) -> Iterator[socket.socket]:
        """Ask for much in one go and read nothing, so that most of it stays with the node."""
        fields = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        with self.connected(plane) as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\n{fields}".encode() * times)
            yield sock

    def register(self, count: int) -> None:
        """Have ``count`` pipelines, of 50 kB each where they are listed."""
        globs = tuple(f"{n:0250}" for n in range(100))
        for n in range(count):
            self.bench.put(ModelSpec("m", SOURCE, include=globs), key=Key("default", f"p{n}"))

    def size_of(self, plane: ControlPlane, path: str) -> int:
        """Return the bytes of the body that ``path`` is answered with."""
        with self.silent(plane, path, 1) as sock, sock.makefile("rb") as answer:
            head = b"".join(iter(answer.readline, b"\r\n"))
            return int(head.lower().partition(b"content-length: ")[2].split()[0])

    def is_answered(self, plane: ControlPlane) -> bool:
        with self.connected(plane) as sock:
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            return sock.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.fixture(params=["plain", "tls"])
def target(request, tmp_path) -> Iterator[Target]:
    origins = MemoryOrigins({SOURCE: MemoryOrigin({"config.json": b"{}"})})
    with running_service(tmp_path / "root", origins) as bench:
        if request.param == "plain":
            yield Target(bench, None, None)
            return
        authority = Authority(tmp_path / "authority")
        certificates = Certificates(*authority.issue("127.0.0.1"))
        yield Target(bench, Encryption(certificates), authority.client())


def until(condition) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_who_takes_nothing_of_an_answer_is_sent_away(target):
    crowd = Crowd(unread=Unread(term=0.2))
    with target.serve(crowd) as plane, target.silent(plane):
        until(lambda: crowd.unread.given_up == 1)
        assert target.is_answered(plane)


def test_one_large_answer_that_nobody_takes_is_enough(target):
    target.register(20)  # 1 MB in one list
    crowd = Crowd(unread=Unread(term=0.2))
    with target.serve(crowd) as plane, target.silent(plane, LISTING, 1):
        until(lambda: crowd.unread.given_up == 1)


def test_who_takes_an_answer_at_its_pace_gets_all_of_it_and_may_take_its_time(target):
    crowd = Crowd(patience=0.2, unread=Unread(term=0.2, pace=1))
    with target.serve(crowd) as plane, target.silent(plane) as sock:
        until(lambda: crowd.unread._reading)
        answers = sock.recv(2**16)
        while answers.count(b"HTTP/1.1 200 OK") < TIMES:
            more = sock.recv(2**16)
            assert more, "the node ended the connection before its answers were taken"
            answers += more
    assert crowd.unread.given_up == 0


def test_of_too_much_that_nobody_takes_the_oldest_goes(target):
    target.register(20)  # 1 MB in one list
    crowd = Crowd(unread=Unread(term=LIMIT))
    with target.serve(crowd) as plane, ExitStack() as stack:
        # One of them, be it that the kernel has taken its part, a tenth of such an answer, or not.
        crowd.unread.limit = target.size_of(plane, LISTING) * 3 // 2
        for _ in range(3):
            stack.enter_context(target.silent(plane, LISTING, 1))
        until(lambda: crowd.unread.given_up >= 2)
        assert target.is_answered(plane)
        assert len(crowd.unread._reading) == 1
