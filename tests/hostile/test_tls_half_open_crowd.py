"""A crowd that begins handshakes and never ends them tries to keep replicas from their bytes."""

import threading
from contextlib import ExitStack
from dataclasses import replace

from cache_server.certificates import Certificates
from cache_server.data.tls import Session
from tests.fakes.certificates import Authority
from tests.fakes.data_node import QUICK, data_node, settled
from tests.fakes.reader import Reader, target

SMALL = replace(QUICK, connections=40)


def test_of_a_crowd_in_handshakes_the_oldest_goes_and_a_replica_is_served(tmp_path):
    authority = Authority(tmp_path / "authority")
    certificates = Certificates(*authority.issue("127.0.0.1"))
    with data_node(tmp_path, SMALL, encryption=certificates) as node:
        node.shelf.add("a", b"weights")
        with Reader(node.plane.address, encryption=authority.client()) as early:
            assert early.get(target("a")).body == b"weights"
            crowd = [node.connect() for _ in range(100)]
            for number, one in enumerate(crowd):
                if number % 2:
                    try:
                        one.send(b"\x16\x03\x01\x02\x00\x01")
                    except OSError:
                        continue  # it had to go already
            with Reader(node.plane.address, encryption=authority.client()) as late:
                assert late.get(target("a")).body == b"weights"
            assert early.get(target("a")).body == b"weights"
            for one in crowd:
                one.sock.close()
        assert node.plane.stats.refused["crowded"] > 0
        assert len(node.plane._workers._threads) <= 2


def test_of_those_who_stand_in_line_for_a_handshake_the_oldest_goes(tmp_path, monkeypatch):
    authority = Authority(tmp_path / "authority")
    certificates = Certificates(*authority.issue("127.0.0.1"))
    working, gate = threading.Semaphore(0), threading.Event()
    shake = Session.shake

    def held(self):
        working.release()
        assert gate.wait(20)
        return shake(self)

    monkeypatch.setattr(Session, "shake", held)
    limits = replace(QUICK, handshakes=2, connections=8)
    with data_node(tmp_path, limits, encryption=certificates) as node, ExitStack() as stack:
        node.shelf.add("a", b"weights")
        for _ in range(limits.connections):
            stack.enter_context(node.connect()).send(b"\x16")
        for _ in range(limits.handshakes):
            assert working.acquire(timeout=20)
        at_work = node.plane._poller._at_work
        assert settled(lambda: len(at_work) == limits.connections)
        # Those in line are older than the replica, though it has not come as far as they have.
        replica = stack.enter_context(node.connect())
        assert settled(lambda: node.plane.stats.refused == {"crowded": 1})
        stack.enter_context(node.connect())
        assert settled(lambda: node.plane.stats.refused == {"crowded": 2})
        gate.set()
        replica.encrypt(authority.client())
        assert replica.get(target("a")).body == b"weights"
