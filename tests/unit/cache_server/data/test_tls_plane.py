"""The byte plane with TLS, over real sockets: the same answers, and handshakes within bounds."""

import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import CacheError, OriginUnavailableError
from cache_server.certificates import Certificates
from cache_server.data.tls import Session
from tests.fakes.certificates import Authority
from tests.fakes.data_node import QUICK, data_node
from tests.fakes.reader import Reader, target

BIG = bytes(range(256)) * 4 * (CHUNK_SIZE // 512)  # two chunks


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def encryption(authority):
    return Certificates(*authority.issue("127.0.0.1"))


@pytest.fixture
def node(tmp_path, encryption):
    with data_node(tmp_path, encryption=encryption) as node:
        node.shelf.add("a", b"weights")
        node.shelf.add("big", BIG)
        yield node


@pytest.fixture
def reader(node, authority):
    with Reader(node.plane.address, encryption=authority.client()) as reader:
        reader.sock.suppress_ragged_eofs = False  # an end is not the same as a cut
        yield reader


def test_a_file_comes_whole(reader, node):
    reply = reader.get(target("big"))
    assert (reply.status, reply.body == BIG) == (200, True)
    assert node.plane.stats.bytes_sent == len(BIG)


def test_a_range_comes_from_the_middle(reader):
    reply = reader.get(target("big"), "Range: bytes=5000000-9000000")
    assert (reply.status, reply.body == BIG[5000000:9000001]) == (206, True)


def test_requests_follow_one_another_on_one_connection_also_without_a_pause(reader):
    for _ in range(3):
        reader.ask(target("a"))
        reader.ask(target("a", kind="digests"))
    for _ in range(3):
        assert reader.reply().body == b"weights"
        assert len(reader.reply().body) == 16


def test_digests_and_verdicts_come_too(reader, node):
    file = node.shelf.add("c", BIG)
    assert reader.get(target("c", kind="digests")).body == file.table
    assert reader.get(target("c", kind="verdicts")).body[:32] == file.sha256


def test_bytes_come_as_they_land(reader, node):
    file = node.shelf.add("c", BIG, present={0})
    reader.ask(target("c"))
    status, _ = reader.head()
    assert status == 200
    assert reader.take(CHUNK_SIZE) == BIG[:CHUNK_SIZE]
    file.land(1)
    assert reader.take(CHUNK_SIZE) == BIG[CHUNK_SIZE:]


def test_a_fill_that_fails_before_the_first_byte_is_a_status(reader, node):
    file = node.shelf.add("c", BIG, present=set())
    file.fail(OriginUnavailableError("the hub is down"))
    assert reader.get(target("c")).status == 503


def test_a_fill_that_fails_in_the_middle_cuts_the_connection(reader, node):
    file = node.shelf.add("c", BIG, present={0})
    reader.ask(target("c"))
    reader.head()
    reader.take(CHUNK_SIZE)
    file.fail(CacheError("no more"))
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):  # cut, and not ended
        reader.sock.recv(1)


def test_a_file_that_is_short_on_disk_cuts_the_connection(reader, node):
    file = node.shelf.add("c", BIG)
    with file.path.open("r+b") as short:
        short.truncate(CHUNK_SIZE)
    reader.ask(target("c"))
    reader.head()
    assert reader.take(CHUNK_SIZE) == BIG[:CHUNK_SIZE]
    with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
        reader.sock.recv(1)


def test_an_answer_that_ends_the_connection_ends_the_session_as_well(reader):
    reply = reader.get(target("a"), "Connection: close")
    assert reply.whole
    assert reader.sock.recv(1) == b""  # close_notify: an end that nobody else could have made


def test_a_request_that_is_none_is_refused_in_words(reader):
    reader.send(b"nonsense\r\n\r\n")
    assert reader.reply().status == 400


class Memory:
    """A client whose bytes leave as the test wants."""

    def __init__(self, plain: Reader, authority: Authority) -> None:
        self.plain = plain
        self.came, self.leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = authority.client()
        self.tls = context.wrap_bio(self.came, self.leaving, server_hostname="127.0.0.1")

    def shake(self, send: Callable[[bytes], None]) -> None:
        """Shake hands; its last bytes are still leaving then."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                send(self.leaving.read())
                self.came.write(self.plain.sock.recv(2**16))
            else:
                return

    def ask(self, name: str, send: Callable[[bytes], None]) -> None:
        self.tls.write(f"GET {target(name)} HTTP/1.1\r\nHost: node\r\n\r\n".encode())
        send(self.leaving.read())

    def answer(self, end: bytes) -> bytes:
        """Read until ``end``."""
        answer = b""
        while not answer.endswith(end):
            try:
                answer += self.tls.read(2**16)
            except ssl.SSLWantReadError:
                self.came.write(self.plain.sock.recv(2**16))
        return answer


def test_a_request_may_come_in_one_packet_with_the_end_of_the_handshake(node, authority):
    with Reader(node.plane.address) as plain:
        client = Memory(plain, authority)
        client.shake(plain.send)
        client.ask("a", plain.send)
        assert client.answer(b"weights").startswith(b"HTTP/1.1 200 OK")


def test_a_handshake_and_a_request_may_come_byte_by_byte(node, authority):
    with Reader(node.plane.address) as plain:
        plain.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def drip(data: bytes) -> None:
            for byte in data:
                plain.send(bytes([byte]))

        client = Memory(plain, authority)
        client.shake(drip)
        client.ask("a", drip)
        assert client.answer(b"weights").startswith(b"HTTP/1.1 200 OK")


def test_who_asks_in_plain_text_is_told_so(node):
    with node.connect() as plain:
        reply = plain.get(target("a"))
        assert (reply.status, b"ask with https" in reply.body) == (400, True)
        assert plain.ended()


def test_who_does_not_come_to_the_end_of_a_handshake_is_sent_away(tmp_path, encryption, authority):
    hasty = replace(QUICK, handshake_time=0.2)
    with data_node(tmp_path, hasty, encryption=encryption) as node:
        node.shelf.add("a", b"weights")
        silent, begun = node.connect(), node.connect()
        begun.send(b"\x16\x03\x01\x02\x00")  # a record of 512 bytes is announced
        with Reader(node.plane.address, encryption=authority.client()) as honest:
            assert honest.get(target("a")).body == b"weights"
            with silent, begun:
                assert silent.ended()
                assert begun.ended()
            assert honest.get(target("a")).body == b"weights"
        assert node.plane.stats.refused["handshake"] == 2


def test_handshakes_stand_in_line_while_others_are_worked_on(
    tmp_path, encryption, authority, monkeypatch
):
    gate, both = threading.Event(), threading.Event()
    shaking: list[object] = []
    shake = Session.shake

    def held(self):
        shaking.append(self)
        if len(shaking) == 2:
            both.set()
        gate.wait(20)
        return shake(self)

    monkeypatch.setattr(Session, "shake", held)
    with data_node(tmp_path, replace(QUICK, handshakes=2), encryption=encryption) as node:
        node.shelf.add("a", b"weights")
        bodies: list[bytes] = []

        def read():
            with Reader(node.plane.address, encryption=authority.client()) as reader:
                bodies.append(reader.get(target("a")).body)

        readers = [threading.Thread(target=read) for _ in range(6)]
        for reader in readers:
            reader.start()
        assert both.wait(20)
        while node.plane.stats.connections < 6:
            threading.Event().wait(0.005)
        assert len(set(map(id, shaking))) == 2
        gate.set()
        for reader in readers:
            reader.join()
        assert bodies == [b"weights"] * 6


def test_a_plane_that_closes_ends_those_in_the_middle_of_a_handshake(tmp_path, encryption):
    with data_node(tmp_path, encryption=encryption) as node:
        begun = node.connect()
        begun.send(b"\x16\x03\x01\x02\x00")
        while node.plane.stats.connections < 1:
            threading.Event().wait(0.005)
        node.plane.close()
        with begun:
            assert begun.ended()


def test_a_certificate_that_was_renewed_is_shown_to_the_next_and_drops_nobody(tmp_path, authority):
    pair = authority.issue("127.0.0.1")
    certificates = Certificates(*pair)
    with data_node(tmp_path, encryption=certificates) as node:
        node.shelf.add("a", b"weights")
        with Reader(node.plane.address, encryption=authority.client()) as old:
            assert old.get(target("a")).status == 200
            authority.renew(pair, "127.0.0.1")
            certificates.keep_fresh()
            with Reader(node.plane.address, encryption=authority.client()) as new:
                assert new.get(target("a")).status == 200
                seen = [each.sock.getpeercert(binary_form=True) for each in (old, new)]
            assert seen[0] != seen[1]
            assert old.get(target("a")).body == b"weights"


def test_a_reader_that_takes_nothing_is_given_up(tmp_path, encryption, authority):
    with data_node(tmp_path, replace(QUICK, send_time=0.3), encryption=encryption) as node:
        node.shelf.add("big", BIG * 4)
        with Reader(node.plane.address, encryption=authority.client()) as reader:
            reader.ask(target("big"))
            while "stalled" not in node.plane.stats.refused:
                threading.Event().wait(0.01)
