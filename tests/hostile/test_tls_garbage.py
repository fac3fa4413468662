"""Bytes that are no TLS, or the beginning of some, try to crash the node or to keep it busy."""

import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_server.certificates import Certificates
from cache_server.data.tls import NotTlsError, Session, TlsError
from tests.fakes.certificates import Authority
from tests.fakes.data_node import data_node
from tests.fakes.reader import Reader, target


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificates(authority):
    return Certificates(*authority.issue("127.0.0.1"))


def hello(authority: Authority) -> bytes:
    came, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = authority.client().wrap_bio(came, leaving, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return leaving.read()


def shaken(certificates: Certificates, parts: list[bytes]) -> bool:
    """Feed ``parts`` to a session; return whether its handshake came to an end."""
    session = Session.begin(certificates())
    for part in parts:
        session.feed(part)
        try:
            if session.shake():
                return True
        except (NotTlsError, TlsError):
            return False
    return False


@settings(max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
def test_random_bytes_are_no_handshake(certificates, parts):
    assert not shaken(certificates, parts)


@settings(max_examples=100)
@given(st.data())
def test_a_hello_that_is_changed_anywhere_ends_in_a_refusal_or_a_wait(
    certificates, authority, data
):
    said = bytearray(hello(authority))
    for _ in range(data.draw(st.integers(1, 4))):
        said[data.draw(st.integers(0, len(said) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(said)))
    assert not shaken(certificates, [bytes(said[:cut]), bytes(said[cut:])])


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x00\x00",  # a record of nothing
        b"\x16\x03\x01\xff\xff" + b"x" * 100,  # of more than TLS allows
        b"\x15\x03\x03\x00\x02\x02\x28",  # an alert first
        b"\x80\x2e\x01\x00\x02",  # SSL 2
        b"\x00" * 64,
        b"\xff" * 20_000,
    ],
)
def test_who_sends_nonsense_is_ended_and_others_are_served(tmp_path, authority, certificates, said):
    with data_node(tmp_path, encryption=certificates) as node:
        node.shelf.add("a", b"weights")
        with node.connect() as hostile:
            hostile.send(said)
            with Reader(node.plane.address, encryption=authority.client()) as honest:
                assert honest.get(target("a")).body == b"weights"


def test_spoilt_bytes_after_the_handshake_end_that_connection_alone(
    tmp_path, authority, certificates
):
    with data_node(tmp_path, encryption=certificates) as node:
        node.shelf.add("a", b"weights")
        context = authority.client()
        with (
            Reader(node.plane.address, encryption=context) as honest,
            Reader(node.plane.address, encryption=context) as hostile,
        ):
            raw = hostile.sock.fileno()
            with open(raw, "wb", buffering=0, closefd=False) as spoil:
                spoil.write(b"\x17\x03\x03\x00\x20" + bytes(32))
            with pytest.raises((ssl.SSLError, ConnectionResetError, EOFError)):
                hostile.get(target("a"))
            assert honest.get(target("a")).body == b"weights"


def test_a_client_of_tls_1_2_cannot_have_the_node_renegotiate(certificates):
    assert certificates().options & ssl.OP_NO_RENEGOTIATION
