"""Strangers that send their requests ahead, to have the poller busy with them and nobody else."""

import socket

import pytest

from cache_server.data.connection import Connection, Fate
from cache_server.data.plane import DataPlane
from cache_server.data.stats import Tally
from tests.fakes.reader import KEYS
from tests.fakes.shelf import FakeShelf

AHEAD = b"GET /files/g/m/a HTTP/1.1\r\nHost: node\r\n\r\n" * 5  # no ticket


@pytest.fixture
def plane(tmp_path, monkeypatch):
    """One whose poller does what the test has it do, and whose answers are there at once."""
    plane = DataPlane(FakeShelf(tmp_path), lambda: KEYS, host="127.0.0.1", port=0)
    monkeypatch.setattr(plane._workers, "give", lambda job: job() or True)
    yield plane
    plane._poller._end_parked()
    plane.close()


def test_who_comes_back_while_others_are_settled_waits_for_the_next_turn(plane):
    poller = plane._poller
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(AHEAD)
        poller._return(Connection(ours, Tally()), Fate.READ)
        for answered in range(1, 4):
            poller._hear()  # BlockingIOError if nothing had woken it
            assert plane.stats.requests == answered
        poller._returned.clear()
