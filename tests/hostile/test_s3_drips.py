"""An S3 service that sends a byte now and then, or falls silent: never done."""

import socket

import pytest

from cache_protocol.errors import OriginUnavailableError
from cache_protocol.ranges import Span
from cache_server.core import drip
from cache_server.core.drip import DripError
from tests.fakes.bucket_peer import bucket, page
from tests.fakes.peer import reply, trickle

SIZE = 10_000_000


def listing(_head, sock):
    sock.sendall(reply(page("llm/w", size=SIZE)))


def read_to_the_end(stream) -> None:
    into, at = memoryview(bytearray(SIZE)), 0
    while at < SIZE:
        at += stream.readinto(into[at:])


def test_an_object_that_drips_is_given_up(monkeypatch):
    monkeypatch.setattr(drip, "WINDOW", 0.1)

    def objects(_head, sock):
        span = f"bytes 0-{SIZE - 1}/{SIZE}"
        head = reply(status="206 Partial Content", Content_Length=SIZE, Content_Range=span)
        sock.sendall(head)
        trickle(sock, b"x")

    with bucket(listing, objects) as origin:
        found = origin.resolve()
        with (
            origin.open(found.revision, found.files[0], Span(0, SIZE)) as stream,
            pytest.raises(DripError),
        ):
            read_to_the_end(stream)


def test_headers_that_drip_are_given_up_in_time():
    def objects(_head, sock):
        sock.sendall(b"HTTP/1.1 206 Partial Content\r\nX-Long: ")
        trickle(sock, b"x", pause=0.05)

    with bucket(listing, objects, stall_timeout=1.0) as origin:
        found = origin.resolve()
        with (
            pytest.raises(OriginUnavailableError),
            origin.open(found.revision, found.files[0], Span(0, SIZE)),
        ):
            pass


def stall(sock: socket.socket) -> None:
    """Say no more until the client leaves."""
    sock.recv(1)


def hang_up(sock: socket.socket) -> None:
    sock.shutdown(socket.SHUT_RDWR)


# And the seconds that the client waits: for the peer's first bytes too, so no shorter.
ENDS = [(stall, 1.0), (hang_up, 20.0)]


@pytest.mark.parametrize("status", ["200 OK", "503 Slow Down"])
@pytest.mark.parametrize("begin", [b"", b"<ListBucketResult>"])
@pytest.mark.parametrize(("end", "patience"), ENDS)
def test_a_listing_or_a_refusal_that_breaks_off_is_no_bug_and_may_be_tried_again(
    status, begin, end, patience
):
    def listing(_head, sock):
        sock.sendall(reply(status=status, Content_Length=1000) + begin)
        end(sock)

    with (
        bucket(listing, stall_timeout=patience) as origin,
        pytest.raises(OriginUnavailableError, match="broke off its answer"),
    ):
        origin.resolve()


@pytest.mark.parametrize(("end", "patience"), ENDS)
def test_a_refusal_of_an_object_that_breaks_off_is_no_bug_and_may_be_tried_again(end, patience):
    def objects(_head, sock):
        sock.sendall(reply(status="503 Slow Down", Content_Length=1000) + b"<Error>")
        end(sock)

    with bucket(listing, objects, stall_timeout=patience) as origin:
        found = origin.resolve()
        with (
            pytest.raises(OriginUnavailableError, match="broke off its answer"),
            origin.open(found.revision, found.files[0], Span(0, SIZE)),
        ):
            pass
