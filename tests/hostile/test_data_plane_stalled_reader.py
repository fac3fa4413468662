"""Readers that ask for much and take nothing, to hold a thread each and block the others."""

import random
from contextlib import suppress
from dataclasses import replace

import pytest

from cache_server.certificates import Certificates
from tests.fakes.certificates import Authority
from tests.fakes.data_node import QUICK, data_node, settled
from tests.fakes.dialect import FakeDialect
from tests.fakes.reader import Reader, target
from tests.fakes.shelf import FakeShelf

WEIGHTS = random.Random(1).randbytes(32 * 2**20)  # more than the buffers of both sockets


def test_stalled_readers_do_not_block_another(tmp_path):
    with data_node(tmp_path) as node:
        node.shelf.add("a", WEIGHTS)
        stalled = [node.connect() for _ in range(20)]
        for reader in stalled:
            reader.ask(target("a"))
            assert reader.head()[0] == 200
        with node.connect() as honest:
            assert honest.get(target("a")).body == WEIGHTS
        assert node.plane.stats.active >= 20
        for reader in stalled:
            reader.sock.close()


def test_a_stalled_reader_loses_its_connection_after_the_send_time(tmp_path):
    with data_node(tmp_path, replace(QUICK, send_time=0.2)) as node, node.connect() as reader:
        node.shelf.add("a", WEIGHTS)
        reader.ask(target("a"))
        assert settled(lambda: node.plane.stats.refused == {"stalled": 1})
        assert reader.reply().whole is False


def test_a_peer_that_pipelines_and_never_reads_stalls_too(tmp_path):
    with data_node(tmp_path, replace(QUICK, send_time=0.2)) as node, node.connect() as reader:
        node.shelf.add("a", WEIGHTS)
        for _ in range(10):
            reader.ask(target("a"))
        assert settled(lambda: node.plane.stats.refused == {"stalled": 1})


@pytest.mark.parametrize("path", ["/files", "/s3/none"])
def test_no_thread_waits_for_who_has_shown_no_ticket_and_reads_no_refusal(tmp_path, path):
    limits = replace(QUICK, send_time=60)
    dialect = FakeDialect(FakeShelf(tmp_path))
    with data_node(tmp_path, limits, dialect=dialect) as node, node.connect() as stranger:
        ask_without_end(stranger, path)
        assert settled(lambda: node.plane.stats.refused.get("stalled") == 1)


def test_no_thread_waits_for_an_encrypted_peer_without_a_ticket_either(tmp_path):
    authority = Authority(tmp_path / "authority")
    certificates = Certificates(*authority.issue("127.0.0.1"))
    with (
        data_node(tmp_path, replace(QUICK, send_time=60), encryption=certificates) as node,
        Reader(node.plane.address, encryption=authority.client()) as stranger,
    ):
        ask_without_end(stranger, "/files")
        assert settled(lambda: node.plane.stats.refused.get("reader-left") == 1)


def ask_without_end(reader: Reader, path: str) -> None:
    """Ask until the node hangs up, and take nothing of what it answers."""
    requests = f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode() * 100
    with suppress(OSError):
        while True:
            reader.send(requests)
