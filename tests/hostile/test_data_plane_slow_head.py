"""Slow loris: many peers send a request head byte by byte to hold threads and connections."""

import time
from dataclasses import replace

from tests.fakes.data_node import QUICK, data_node
from tests.fakes.reader import target

IMPATIENT = replace(QUICK, head_time=0.2)


def test_a_head_that_is_not_whole_in_time_is_refused_without_a_thread(tmp_path):
    with data_node(tmp_path, IMPATIENT) as node:
        node.shelf.add("a", b"weights")
        slow = [node.connect() for _ in range(50)]
        for reader in slow:
            reader.send(b"GET /files HTTP/1.1\r\nX")
        with node.connect() as honest:
            assert honest.get(target("a")).body == b"weights"
        for reader in slow:
            assert reader.reply().status == 408
            assert reader.ended()
            reader.sock.close()
        assert node.plane.stats.refused["slow-head"] == 50
        assert len(node.plane._workers._threads) <= 1


def test_bytes_that_trickle_do_not_extend_the_time(tmp_path):
    with data_node(tmp_path, IMPATIENT) as node, node.connect() as reader:
        reader.send(b"GET /")
        while "slow-head" not in node.plane.stats.refused:
            reader.send(b"x")
            time.sleep(0.01)  # the trickle itself; 16 KiB of it would be a giant head
        assert reader.reply().status == 408
