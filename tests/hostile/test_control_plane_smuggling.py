"""A request that ends in two places, so that a proxy and the node disagree on what comes next."""

import re
import socket

import pytest

from tests.fakes.control_plane import TOKEN, ControlPlane, control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, running_service

POST = f"POST /v1/scrub HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
SMUGGLED = f"GET /v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    origins = MemoryOrigins({SOURCE: MemoryOrigin({"config.json": b"{}"})})
    with (
        running_service(tmp_path_factory.mktemp("root"), origins) as bench,
        control_plane(bench.service) as plane,
    ):
        yield plane


def statuses(plane: ControlPlane, text: str) -> list[str]:
    """Return the statuses of all answers to ``text``; the node has closed the connection."""
    with socket.create_connection(("127.0.0.1", plane.port), 10) as sock:
        sock.sendall(text.encode())
        said = b"".join(iter(lambda: sock.recv(65536), b"")).decode("latin-1")
    return re.findall(r"HTTP/1\.1 (\d+)", said)


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 0\r\nContent-Length: 90\r\n\r\n",
        "Content-Length: +0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_request_without_one_clear_end_is_refused_and_nothing_after_it_is_answered(
    plane, framing
):
    assert statuses(plane, POST + framing + SMUGGLED) == ["400"]


def test_a_request_with_one_end_is_answered_and_the_next_one_too(plane):
    last = SMUGGLED.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    assert statuses(plane, f"{POST}Content-Length: 0\r\n\r\n{last}") == ["202", "200"]


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_no_other_protocol_is_spoken_and_nobody_hears_of_it(plane, protocol, caplog):
    asked = f"Upgrade: {protocol}\r\nConnection: Upgrade, close\r\n\r\n"
    assert statuses(plane, f"GET /healthz HTTP/1.1\r\nHost: x\r\n{asked}") == ["200"]
    assert not caplog.records
