import itertools
import os

import pytest

from cache_protocol.ranges import Span
from cache_server.data import read_ahead
from cache_server.data.read_ahead import ADVICE, AHEAD, PROBE, ReadAhead


@pytest.fixture
def fd(tmp_path):
    path = tmp_path / "f"
    with path.open("wb") as file:
        file.truncate(2 * AHEAD)
    opened = os.open(path, os.O_RDONLY)
    yield opened
    os.close(opened)


@pytest.fixture
def asked(monkeypatch) -> list[Span]:
    spans: list[Span] = []
    monkeypatch.setattr(
        read_ahead.os, "posix_fadvise", lambda _, at, n, __: spans.append(Span(at, at + n))
    )
    return spans


def missing(monkeypatch) -> None:
    def preadv(*_: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(read_ahead.os, "preadv", preadv)


def test_missing_bytes_are_asked_for_once_in_order_and_never_beyond_the_span(
    monkeypatch, fd, asked
):
    missing(monkeypatch)
    span = Span(1000, AHEAD + 5 * PROBE + 7)
    ahead = ReadAhead(fd, span)
    for position in range(span.begin, span.end, PROBE):
        ahead.advance(position)
        assert asked[-1].end == min(position + AHEAD, span.end)
    assert all(a.end == b.begin for a, b in itertools.pairwise(asked))
    assert (asked[0].begin, asked[-1].end) == span
    assert all(piece.size <= ADVICE for piece in asked)


def test_bytes_in_memory_are_not_asked_for(fd, asked):
    os.pread(fd, AHEAD, 0)
    ReadAhead(fd, Span(0, AHEAD)).advance(0)
    assert asked == []


def test_a_file_system_that_cannot_tell_is_asked(monkeypatch, fd, asked):
    def preadv(*_: object) -> int:
        raise OSError(95, "not supported")

    monkeypatch.setattr(read_ahead.os, "preadv", preadv)
    ReadAhead(fd, Span(0, 10)).advance(0)
    assert asked == [Span(0, 10)]
