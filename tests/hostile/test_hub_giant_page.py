"""A hub whose page of a listing has no end, or comes byte by byte, to fill memory or hold us."""

import re

import pytest

from cache_protocol.errors import MalformedError, OriginUnavailableError
from cache_server.origins import question
from tests.fakes.hub_peer import listed_by
from tests.fakes.peer import reply, trickle

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_page_without_end_is_not_read_on(monkeypatch):
    monkeypatch.setattr(question, "LARGEST", 10**6)

    def tree(_head, sock):
        sock.sendall(CHUNKED)
        trickle(sock, b"10000\r\n" + b" " * 2**16 + b"\r\n", pause=0)

    with listed_by(tree) as origin, pytest.raises(MalformedError, match="above 1000000 bytes"):
        origin.resolve()


def test_a_page_that_drips_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(question, "LONGEST", 0.3)

    def tree(_head, sock):
        sock.sendall(CHUNKED)
        trickle(sock, b"1\r\n \r\n")

    with listed_by(tree) as origin, pytest.raises(OriginUnavailableError, match="not whole after"):
        origin.resolve()


def test_many_large_pages_are_too_much_together(monkeypatch):
    monkeypatch.setattr(question, "MOST", 10**6)

    def tree(head, sock):
        host = re.search(r"(?i)^host: (.*?)\r?$", head, re.MULTILINE)[1]
        link = f'<http://{host}/api/models/org/name/tree/next>; rel="next"'
        sock.sendall(reply(b"[" + b" " * 2**16 + b"]", Link=link))

    with listed_by(tree) as origin, pytest.raises(MalformedError, match="all answers are above"):
        origin.resolve()


def test_a_page_of_millions_of_values_is_refused_before_they_are_made():
    def tree(_head, sock):
        sock.sendall(reply(b"[" + b"[]," * 2**22 + b"[]]"))

    with listed_by(tree) as origin, pytest.raises(MalformedError, match="commas and brackets"):
        origin.resolve()


def test_a_page_nested_without_end_is_no_answer():
    def tree(_head, sock):
        body = b"[" * 10**6
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + body)

    with listed_by(tree) as origin, pytest.raises(OriginUnavailableError, match="not the form"):
        origin.resolve()
