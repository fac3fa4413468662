"""What the agent believes, and what it does not, of a node with TLS."""

import json
import socket
import ssl
import threading
import time
from contextlib import contextmanager

import pytest

from cache_protocol.errors import MalformedError, ServerUnreachableError
from cache_protocol.manifest import dump_manifest
from cache_server.certificates import Certificates
from replica_agent.arenas.host import HostMemory
from replica_agent.client import ControlClient
from replica_agent.connection import Connection
from replica_agent.core.answers import LostError
from replica_agent.core.urls import Endpoint
from replica_agent.pull import Pull
from replica_agent.trust import Trust
from tests.fakes.certificates import Authority
from tests.fakes.data_node import data_node
from tests.fakes.node import FakeNode
from tests.fakes.reader import target


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def node(tmp_path, authority):
    """Serve with TLS and a certificate for the names that are given."""

    def serve(*names: str, **terms: float):
        certificates = Certificates(*authority.issue(*names, **terms))
        return data_node(tmp_path, encryption=certificates)

    return serve


@contextmanager
def connection(node, trust: Trust, **more):
    host, port = node.plane.address
    made = Connection(Endpoint(host, port, tls=True), trust=trust, **more)
    try:
        made.open()
        yield made
    finally:
        made.close()


def asked(connection: Connection, name: str, **fields) -> bytes:
    connection.send(f"GET {target(name, **fields)} HTTP/1.1\r\nHost: node\r\n\r\n".encode())
    return connection.read(connection.head().length)


def test_bytes_come_into_the_callers_memory_whole(node, authority):
    content = bytes(range(256)) * 20_000
    with node("127.0.0.1") as serving, connection(serving, Trust(authority.ca)) as lane:
        serving.shelf.add("a", content)
        assert asked(lane, "a") == content
        assert asked(lane, "a") == content


def test_a_certificate_for_another_name_is_not_believed(node, authority):
    with (
        node("other.example") as serving,
        pytest.raises(LostError, match=r"not believed: IP address mismatch.*REPLICA_AGENT_CA"),
        connection(serving, Trust(authority.ca)),
    ):
        pass


def test_a_certificate_of_an_unknown_authority_is_not_believed(node, tmp_path):
    stranger = Authority(tmp_path / "stranger")
    with (
        node("127.0.0.1") as serving,
        pytest.raises(LostError, match="not believed"),
        connection(serving, Trust(stranger.ca)),
    ):
        pass


def test_a_certificate_that_has_run_out_is_not_believed(node, authority):
    with (
        node("127.0.0.1", days=-1) as serving,
        pytest.raises(LostError, match="has expired"),
        connection(serving, Trust(authority.ca)),
    ):
        pass


def test_a_node_that_speaks_plain_text_is_told_from_one_that_is_down(tmp_path, authority):
    with (
        data_node(tmp_path) as serving,
        pytest.raises(LostError, match="speaks no TLS there"),
        connection(serving, Trust(authority.ca)),
    ):
        pass


def test_the_control_plane_is_believed_as_little(node, authority):
    with node("other.example") as serving:
        host, port = serving.plane.address
        client = ControlClient(f"https://{host}:{port}", "SECRET", Trust(authority.ca))
        with pytest.raises(ServerUnreachableError, match="not believed"):
            client.manifest("voice")


def test_a_lane_does_not_try_again_with_a_certificate_that_is_not_believed(node, authority):
    with FakeNode({"asr": {"w.dat": b"x" * 10}}) as plain, node("other.example") as serving:
        host, port = serving.plane.address
        base, manifest = plain.url, plain.manifest
        moved = json.dumps(dump_manifest(manifest())).replace(base, f"https://{host}:{port}")
        plain.faults.manifest = moved.encode()
        client = ControlClient(base, trust=Trust(authority.ca))
        began = time.monotonic()
        with (
            Pull(client, "voice", HostMemory().open_arenas, patience=60) as pull,
            pytest.raises(ServerUnreachableError, match="not believed"),
        ):
            pull.wait()
        assert time.monotonic() - began < 30


def test_a_file_without_certificates_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    client = ControlClient("https://127.0.0.1:1", trust=Trust(tmp_path / "ca.pem"))
    with pytest.raises(MalformedError, match="REPLICA_AGENT_CA"):
        client.manifest("voice")


@contextmanager
def peer(authority: Authority, act):
    """Accept one connection, shake hands, and let ``act`` do with it what it wants."""
    context = Certificates(*authority.issue("127.0.0.1"))()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                act(sock, context)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Endpoint(*listener.getsockname(), tls=True)
        finally:
            thread.join()


def test_a_node_that_drips_within_a_record_is_given_up_in_time(authority):
    over = threading.Event()

    def drip(sock: socket.socket, context: ssl.SSLContext) -> None:
        with context.wrap_socket(sock, server_side=True) as tls:
            raw = socket.socket(fileno=tls.detach())
            with raw:
                raw.sendall(b"\x17\x03\x03\x40\x00")  # a record of 16 KiB is announced
                while not over.wait(0.05):
                    raw.sendall(b"x")

    with peer(authority, drip) as endpoint:
        lane = Connection(endpoint, stall=0.3, trust=Trust(authority.ca))
        try:
            lane.open()
            with pytest.raises(LostError):
                lane.read(10)
        finally:
            over.set()
            lane.close()


def test_a_node_that_does_not_shake_hands_is_given_up_in_time(authority, monkeypatch):
    monkeypatch.setattr("replica_agent.connection.CONNECT_TIMEOUT", 0.3)
    over = threading.Event()
    began = time.monotonic()
    with peer(authority, lambda *_: over.wait(20)) as endpoint:
        lane = Connection(endpoint, trust=Trust(authority.ca))
        try:
            with pytest.raises(LostError):
                lane.open()
        finally:
            over.set()
            lane.close()
    assert time.monotonic() - began < 10


def test_a_node_that_ends_the_session_is_a_lost_connection(authority):
    def end(sock: socket.socket, context: ssl.SSLContext) -> None:
        with context.wrap_socket(sock, server_side=True) as tls:
            tls.recv(1)

    with peer(authority, end) as endpoint:
        lane = Connection(endpoint, trust=Trust(authority.ca))
        lane.open()
        lane.send(b"x")
        with pytest.raises(LostError):
            lane.read(1)
        lane.close()


def test_what_waits_can_be_ended_from_another_thread(authority):
    over, waiting = threading.Event(), threading.Event()

    def hold(sock: socket.socket, context: ssl.SSLContext) -> None:
        with context.wrap_socket(sock, server_side=True):
            waiting.set()
            over.wait(20)

    with peer(authority, hold) as endpoint:
        lane = Connection(endpoint, trust=Trust(authority.ca))
        lane.open()
        aborting = threading.Thread(target=lambda: waiting.wait(20) and lane.abort())
        aborting.start()
        with pytest.raises(LostError):
            lane.read(1)
        aborting.join()
        over.set()
        lane.close()


def test_a_manifest_that_came_encrypted_may_not_lead_to_plain_text():
    with FakeNode({"asr": {"w.dat": b"x"}}) as plain:
        client = ControlClient("https://127.0.0.1:1")
        with pytest.raises(MalformedError, match="sends its readers to plain text"):
            client._check(plain.manifest())
        ControlClient("http://127.0.0.1:1")._check(plain.manifest())
