"""A pull under way to an engine, and how long a node may take to say what there is."""

import socket
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from cache_protocol.errors import ServerUnreachableError
from replica_agent.arenas.host import HostMemory
from replica_agent.boot.by_memory import MemoryWay
from replica_agent.boot.home import Home
from replica_agent.boot.options import Options
from replica_agent.boot.record import Record
from replica_agent.boot.ways import Pulling, Trip
from replica_agent.settings import Settings
from tests.fakes.boots import until
from tests.fakes.node import FakeNode


@contextmanager
def trip(url, directory, patience=20.0):
    """Return a boot from ``url``, whose first answer is waited for so many seconds."""
    options = Options("voice", ("engine",), patience=patience, device="cpu")
    record = Record(time.monotonic(), datetime.now(UTC))
    with closing(Home(directory, "voice")) as home:
        yield Trip(options, Settings(url, state_dir=directory / "state"), home, record)


@contextmanager
def pulling(url, directory, patience, open_arenas):
    with trip(url, directory, patience) as made:
        way = Pulling(made, open_arenas, "cpu")
        with closing(way.pulling):
            yield way


def test_a_node_that_says_nothing_is_given_up_after_the_patience(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            pulling(url, tmp_path, 0.1, HostMemory(2**30).open_arenas) as way,
            pytest.raises(ServerUnreachableError, match="does not answer"),
        ):
            way.small_files()


def test_what_is_done_once_the_manifest_is_there_is_not_the_nodes_time(tmp_path):
    memory, clocks = HostMemory(2**30), []

    def slowly(manifest):  # a driver starts, plans are asked for
        clocks.extend(each for each in threading.enumerate() if isinstance(each, threading.Timer))
        return memory.open_arenas(manifest)

    with (
        FakeNode({"llm": {"config.json": b"{}"}}) as node,
        pulling(node.url, tmp_path, 20.0, slowly) as way,
    ):
        way.pulling.wait()
    assert clocks == []  # nothing that ends the boot's questions runs any more


def test_a_manifest_that_comes_before_we_are_ready_for_it_waits(tmp_path, monkeypatch):
    get_ready = MemoryWay._get_ready

    def late(way, made):
        until(node.manifests)
        get_ready(way, made)

    monkeypatch.setattr(MemoryWay, "_get_ready", late)
    with (
        FakeNode({"llm": {"config.json": b"{}"}}) as node,
        trip(node.url, tmp_path) as made,
        closing(MemoryWay(made)) as way,
    ):
        assert (way.prepare()["llm"] / "config.json").read_bytes() == b"{}"
