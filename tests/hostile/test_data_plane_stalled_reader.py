"""Readers that ask for much and take nothing, to hold a thread each and block the others."""

import random
from dataclasses import replace

from tests.fakes.data_node import QUICK, data_node, settled
from tests.fakes.reader import target

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
