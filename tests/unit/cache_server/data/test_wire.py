import errno
import os
import socket

import pytest

from cache_protocol.errors import CacheError
from cache_protocol.ranges import Span
from cache_server.data.connection import Connection, Fate
from cache_server.data.request import Request
from cache_server.data.stats import Tally
from cache_server.data.wire import DiskFailedError, ReaderLeftError, Wire


@pytest.fixture
def sock():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EHOSTUNREACH, ReaderLeftError),
        (errno.ENETUNREACH, ReaderLeftError),
        (errno.EIO, DiskFailedError),
    ],
)
def test_a_network_that_is_gone_is_no_failure_of_the_disk(
    sock, tmp_path, monkeypatch, number, kind
):
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    (tmp_path / "w").write_bytes(b"weights")
    monkeypatch.setattr(os, "sendfile", fail)
    with (tmp_path / "w").open("rb") as file, pytest.raises(kind):
        Wire(sock, Tally()).send_file(file.fileno(), Span(0, 7))


class Failing:
    """A responder that meets a bug, and then a network that takes nothing."""

    def respond(self, *_: object, **__: object) -> None:
        raise CacheError("a bug")

    def refuse(self, *_: object, **__: object) -> None:
        raise OSError(errno.ENOBUFS, "no buffer space")


def test_a_connection_comes_back_also_when_its_apology_cannot_be_sent(sock):
    request = Request("GET", "/", "", {}, keep_alive=True)
    fate = Connection(sock, Tally()).serve(request, Failing(), lambda: False)
    assert fate is Fate.CLOSE
