"""An S3 service whose listing never ends: always a next page, or one page without an end."""

import itertools

import pytest

from cache_protocol.errors import MalformedError, OriginUnavailableError
from cache_server.origins import question
from tests.fakes.bucket_peer import bucket, page
from tests.fakes.peer import reply, trickle

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_keys_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(question, "MAX_LISTED", 2000)
    starts = itertools.count()

    def listing(_head, sock):
        start = next(starts)
        keys = [f"llm/{start}-{n}" for n in range(1000)]
        sock.sendall(reply(page(*keys, more=f"t{start}")))

    with bucket(listing) as origin, pytest.raises(MalformedError, match="more than 2000 files"):
        origin.resolve()


def test_empty_pages_without_end_are_given_up_in_time(monkeypatch):
    monkeypatch.setattr(question, "LONGEST", 0.3)
    starts = itertools.count()

    def listing(_head, sock):
        sock.sendall(reply(page(more=f"t{next(starts)}")))

    with bucket(listing) as origin, pytest.raises(OriginUnavailableError, match="not whole after"):
        origin.resolve()


def test_a_page_without_end_is_not_read_on(monkeypatch):
    monkeypatch.setattr(question, "LARGEST", 10**6)

    def listing(_head, sock):
        sock.sendall(CHUNKED)
        trickle(sock, b"10000\r\n" + b" " * 2**16 + b"\r\n", pause=0)

    with bucket(listing) as origin, pytest.raises(MalformedError, match="above 1000000 bytes"):
        origin.resolve()


def test_a_page_that_drips_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(question, "LONGEST", 0.3)

    def listing(_head, sock):
        sock.sendall(CHUNKED)
        trickle(sock, b"1\r\n \r\n")

    with bucket(listing) as origin, pytest.raises(OriginUnavailableError, match="not whole after"):
        origin.resolve()


def test_an_error_without_end_is_not_read_on(monkeypatch):
    monkeypatch.setattr(question, "LARGEST", 10**6)

    def listing(_head, sock):
        sock.sendall(b"HTTP/1.1 503 Slow Down\r\nTransfer-Encoding: chunked\r\n\r\n")
        trickle(sock, b"10000\r\n" + b" " * 2**16 + b"\r\n", pause=0)

    with bucket(listing) as origin, pytest.raises(MalformedError, match="above 1000000 bytes"):
        origin.resolve()
