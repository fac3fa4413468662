"""The control port with TLS, over real sockets."""

import json
import socket
import ssl
from http.client import HTTPSConnection

import pytest

from cache_protocol.manifest import parse_manifest
from cache_server.certificates import Certificates
from cache_server.http.encrypted import Encryption
from tests.fakes.certificates import Authority
from tests.fakes.control_plane import TOKEN, control_plane
from tests.fakes.service import SOURCE

BODY = {"models": [{"name": "m", "source": SOURCE}]}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def certificates(authority):
    return Certificates(*authority.issue("127.0.0.1"))


@pytest.fixture
def serve(bench, certificates):
    """Serve the bench's service with TLS; arguments are those of ``Encryption``."""
    return lambda **bounds: control_plane(
        bench.service, encryption=Encryption(certificates, **bounds), scheme="https"
    )


class Client:
    """One connection that is kept."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.connection = HTTPSConnection("127.0.0.1", port, timeout=30, context=context)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, method: str, path: str, body=None) -> tuple[int, bytes]:
        fields = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        self.connection.request(method, path, None if body is None else json.dumps(body), fields)
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 30)


def ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_calls_follow_one_another_on_one_connection(serve, authority):
    with serve() as plane, Client(plane.port, authority.client()) as client:
        assert client.ask("PUT", "/v1/pipelines/voice", BODY)[0] == 201
        assert client.ask("GET", "/v1/pipelines/voice")[0] == 200
        assert client.ask("GET", "/v1/status")[0] == 200


def test_a_manifest_leads_to_the_data_plane_with_tls(serve, authority):
    with serve() as plane, Client(plane.port, authority.client()) as client:
        client.ask("PUT", "/v1/pipelines/voice", BODY)
        _, body = client.ask("GET", "/v1/pipelines/voice/manifest")
    for _, file in parse_manifest(body).files():
        assert all(u.startswith("https://") for u in (*file.urls, file.digests, file.verdict))


def test_who_asks_in_plain_text_is_told_so_and_nothing_else(serve):
    with serve() as plane:
        answer = plane.ask("GET", "/v1/status")
    assert (answer.status, answer.json["code"]) == (400, "malformed")
    assert "ask with https" in answer.json["detail"]


def test_what_is_neither_is_ended_and_others_are_answered(serve, authority):
    with serve() as plane, connected(plane.port) as sock:
        sock.sendall(b"\x16\x03\x01\x00\x05nonsense")
        while sock.recv(100):  # an alert, as TLS wants it, and the end
            pass
        with Client(plane.port, authority.client()) as client:
            assert client.ask("GET", "/v1/status")[0] == 200


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"])
def test_who_does_not_come_to_the_end_of_a_handshake_is_sent_away(serve, said):
    with serve(patience=0.2) as plane, connected(plane.port) as sock:
        sock.sendall(said)
        assert ended(sock)


def test_of_a_crowd_in_handshakes_the_oldest_goes_and_who_asks_is_answered(serve, authority):
    with serve(limit=20) as plane:
        idle = [connected(plane.port) for _ in range(60)]
        try:
            with Client(plane.port, authority.client()) as client:
                assert client.ask("GET", "/v1/status")[0] == 200
            assert all(ended(sock) for sock in idle[:40])
        finally:
            for sock in idle:
                sock.close()


def test_who_is_through_its_handshake_does_not_count_among_those_who_are_not(serve, authority):
    with serve(limit=2) as plane:
        clients = [Client(plane.port, authority.client()) for _ in range(5)]
        for client in clients:
            assert client.ask("GET", "/v1/status")[0] == 200
        for client in clients:
            assert client.ask("GET", "/v1/status")[0] == 200
            client.connection.close()


def test_a_renewed_certificate_is_shown_to_the_next_and_drops_nobody(bench, authority):
    pair = authority.issue("127.0.0.1")
    certificates = Certificates(*pair)
    with (
        control_plane(bench.service, encryption=Encryption(certificates)) as plane,
        Client(plane.port, authority.client()) as old,
        Client(plane.port, authority.client()) as new,
    ):
        assert old.ask("GET", "/v1/status")[0] == 200
        before = old.connection.sock.getpeercert(binary_form=True)
        authority.renew(pair, "127.0.0.1")
        certificates.keep_fresh()
        assert new.ask("GET", "/v1/status")[0] == 200
        assert new.connection.sock.getpeercert(binary_form=True) != before
        assert old.ask("GET", "/v1/status")[0] == 200
