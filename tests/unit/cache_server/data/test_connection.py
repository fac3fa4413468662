import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from cache_server.data.connection import Connection, Fate
from cache_server.data.request import parse_request
from cache_server.data.stats import Tally


def asked(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode()


@pytest.fixture
def connection() -> Iterator[Connection]:
    """One over which a second request has come behind the first."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Connection(ours, Tally(), unread=asked("/second"))


def served(connection: Connection) -> tuple[Fate, list[str]]:
    """Have a worker serve the first request; return what comes then, and what was answered."""
    answered: list[str] = []
    speaker = SimpleNamespace(respond=lambda request, _wire, **_: answered.append(request.path))
    request, _ = parse_request(asked("/first"))
    return connection.serve(request, speaker, lambda: False), answered


def test_a_worker_goes_on_with_what_has_come_of_who_has_shown_a_ticket(connection):
    connection.wire.known = True
    assert served(connection) == (Fate.PARK, ["/first", "/second"])


def test_a_worker_gives_one_answer_at_a_time_to_who_has_shown_none(connection):
    assert served(connection) == (Fate.READ, ["/first"])
