"""The byte plane where it speaks another protocol: with a dialect of the test."""

import threading
from dataclasses import replace

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import OriginUnavailableError
from cache_server.core.tracing import request_id
from cache_server.data import connection
from cache_server.data.wire import Wire
from tests.fakes.data_node import QUICK, data_node, settled
from tests.fakes.dialect import FakeDialect, text
from tests.fakes.reader import target
from tests.fakes.shelf import FakeShelf

BIG = bytes(range(256)) * 4 * (CHUNK_SIZE // 512)  # two chunks


@pytest.fixture
def dialect(tmp_path):
    shelf = FakeShelf(tmp_path)
    shelf.add("a", b"weights")
    shelf.add("big", BIG)
    return FakeDialect(shelf)


@pytest.fixture
def node(tmp_path, dialect):
    with data_node(tmp_path / "own", dialect=dialect) as running:
        yield running


@pytest.fixture
def reader(node):
    with node.connect() as connected:
        yield connected


@pytest.fixture(autouse=True)
def own(tmp_path):
    (tmp_path / "own").mkdir()


def test_a_file_is_sent_as_the_dialect_says(reader, dialect):
    dialect.more["x-amz-request-id"] = "7"
    reply = reader.get("/s3/big")
    assert (reply.status, reply.body == BIG) == (200, True)
    assert reply.fields["x-amz-request-id"] == "7"
    assert {"date", "connection"} < set(reply.fields)


def test_a_part_of_a_file_is_sent(reader):
    reply = reader.get("/s3/big", "Range: bytes=8388600-8388620")
    assert (reply.status, reply.body) == (206, BIG[8388600:8388621])


def test_the_plane_goes_on_answering_tickets_on_the_same_connection(node, reader):
    node.shelf.add("b", b"own")
    assert reader.get("/s3/a").body == b"weights"
    assert reader.get(target("b")).body == b"own"
    assert reader.get("/s3/a").body == b"weights"


def test_a_head_has_the_fields_and_no_body(reader):
    reply = reader.get("/s3/big", method="HEAD")
    assert (reply.status, reply.fields["content-length"]) == (200, str(len(BIG)))
    assert reader.get("/s3/a").body == b"weights"


def test_the_dialect_hears_where_a_request_came_from(reader, dialect):
    reader.get("/s3/a")
    assert dialect.peers == ["127.0.0.1"]


def test_bytes_are_sent_as_they_land(node, reader, dialect):
    file = dialect.shelf.add("filling", BIG, present={0})
    reader.ask("/s3/filling")
    assert reader.head()[0] == 200
    assert reader.take(CHUNK_SIZE) == BIG[:CHUNK_SIZE]
    assert file.waiting.wait(10)
    file.land(1)
    assert reader.take(len(BIG) - CHUNK_SIZE) == BIG[CHUNK_SIZE:]


def test_a_fill_that_fails_before_the_first_byte_is_said_in_the_words_of_the_dialect(
    reader, dialect
):
    file = dialect.shelf.add("filling", BIG, present=set())
    file.fail(OriginUnavailableError("the origin is down", retry_after=7))
    reply = reader.get("/s3/filling")
    assert (reply.status, reply.body) == (503, b"no 503 the origin is down")
    assert reply.fields["retry-after"] == "7"


def test_a_first_byte_that_does_not_come_is_said_before_clients_give_up(tmp_path, dialect):
    dialect.shelf.add("filling", BIG, present={1})
    limits = replace(QUICK, first_byte=0.1)
    with data_node(tmp_path / "own", limits, dialect=dialect) as node, node.connect() as reader:
        reply = reader.get("/s3/filling")
        assert (reply.status, reply.body) == (503, b"no 503 no byte came within 0 s")
        assert reader.get("/s3/filling", f"Range: bytes={CHUNK_SIZE}-").status == 206


def test_a_fill_that_fails_later_cuts_the_connection(reader, dialect):
    file = dialect.shelf.add("filling", BIG, present={0})
    reader.ask("/s3/filling")
    assert reader.head()[0] == 200
    file.fail(OriginUnavailableError("the origin is down"))
    assert len(reader.take(len(BIG))) < len(BIG)


@pytest.mark.parametrize("path", ["/s3/a", "/s3", "http://node/s3/a", "/s3?x"])
def test_a_method_that_is_not_allowed_is_refused_in_the_words_of_the_dialect(reader, path):
    reply = reader.get(path, "Content-Length: 9", method="PUT")
    assert (reply.status, reply.fields["allow"]) == (405, "GET, HEAD")
    assert reply.body.startswith(b"no 405 ")


def test_one_of_the_planes_own_paths_is_refused_in_its_own(reader):
    assert reader.get("/s3x", method="PUT").body.startswith(b"{")


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"GET /s3/a HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET /s3/a HTTP/1.1\r\nX: " + b"x" * 20000, 431),
        (b"GET /s3/a?" + b"x" * 20000, 414),
        (b"GET /s3/a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 400),
    ],
)
def test_a_head_that_is_none_is_refused_in_the_words_of_the_dialect(reader, said, status):
    reader.send(said)
    reply = reader.reply()
    assert (reply.status, reply.body[:7]) == (status, b"no %d " % status)
    assert reader.ended()


def test_what_is_no_request_is_not_refused_under_the_id_of_the_one_before(
    reader, dialect, monkeypatch
):
    refuse, ids = dialect.refuse, []
    monkeypatch.setattr(dialect, "refuse", lambda no: ids.append(request_id.get()) or refuse(no))
    good = b"GET /s3/a HTTP/1.1\r\nHost: x\r\nX-Request-Id: start-1\r\n\r\n"
    reader.send(good + b"PUT /s3/a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert reader.reply().body == b"weights"
    assert reader.reply().status == 405
    assert ids == [None]


def test_one_behind_a_good_request_too(reader):
    reader.send(b"GET /s3/a HTTP/1.1\r\nHost: x\r\n\r\nPUT /s3/a HTTP/1.1\r\nHost: x\r\n\r\n")
    assert reader.reply().body == b"weights"
    assert reader.reply().body.startswith(b"no 405 ")


def test_a_slow_head_is_told_in_the_words_of_the_dialect(tmp_path, dialect):
    limits = replace(QUICK, head_time=0.2)
    with data_node(tmp_path / "own", limits, dialect=dialect) as node, node.connect() as reader:
        reader.send(b"GET /s3/a HTTP/1.1\r\n")
        assert reader.reply().body.startswith(b"no 408 ")


@pytest.mark.parametrize("bound", ["active", "strangers"])
def test_one_answer_too_many_is_refused_in_the_words_of_the_dialect(tmp_path, dialect, bound):
    file = dialect.shelf.add("cold", BIG, present=set())
    limits = replace(QUICK, **{bound: 1})
    with (
        data_node(tmp_path / "own", limits, dialect=dialect) as node,
        node.connect() as first,
        node.connect() as second,
    ):
        first.ask("/s3/cold")
        assert file.waiting.wait(5)
        assert second.get("/s3/a").body.startswith(b"no 429 ")


def test_an_answer_too_many_to_a_head_has_no_body(tmp_path, dialect):
    file = dialect.shelf.add("cold", BIG, present=set())
    limits = replace(QUICK, active=1)
    with (
        data_node(tmp_path / "own", limits, dialect=dialect) as node,
        node.connect() as first,
        node.connect() as second,
    ):
        first.ask("/s3/cold")
        assert file.waiting.wait(5)
        reply = second.get("/s3/a", method="HEAD")
        assert (reply.status, second.ended()) == (429, True)


def test_an_admin_has_answers_beyond_those_of_strangers(tmp_path, dialect, monkeypatch):
    monkeypatch.setattr(connection, "LINGER", 0)
    file = dialect.shelf.add("cold", BIG, present=set())
    limits = replace(QUICK, strangers=1)
    with (
        data_node(tmp_path / "own", limits, dialect=dialect) as node,
        node.connect() as admin,
        node.connect() as stranger,
    ):
        assert admin.get("/s3/a", "X-Tenant: -").status == 200
        assert settled(lambda: node.plane.stats.active == 0)
        stranger.ask("/s3/cold")
        assert file.waiting.wait(5)
        assert admin.get("/s3/a", "X-Tenant: -").body == b"weights"


def test_an_admin_takes_no_answer_from_strangers(tmp_path, dialect):
    file = dialect.shelf.add("cold", BIG, present=set())
    limits = replace(QUICK, strangers=1)
    with (
        data_node(tmp_path / "own", limits, dialect=dialect) as node,
        node.connect() as admin,
        node.connect() as stranger,
    ):
        admin.ask("/s3/cold", "X-Tenant: -")
        assert file.waiting.wait(5)
        assert stranger.get("/s3/a").body == b"weights"


@pytest.mark.parametrize("who", ["X-Tenant: blue", "X-Tenant: -"])
def test_a_thread_waits_until_one_that_is_no_stranger_has_read_its_refusal(
    reader, dialect, monkeypatch, who
):
    assert reader.get("/s3/a", who).status == 200
    send, sending = Wire.send, threading.Event()

    def sent(wire, data):
        sending.set()
        send(wire, data)

    words = "x" * 2**25  # more than the buffers of both sockets
    monkeypatch.setattr(dialect, "answer", lambda *_: text(404, words))
    monkeypatch.setattr(Wire, "send", sent)
    reader.ask("/s3/none")
    assert sending.wait(5)
    assert reader.reply().whole


def test_a_worker_lingers_for_an_admin_as_for_a_tenant(node, reader, monkeypatch):
    monkeypatch.setattr(connection, "LINGER", 60_000)
    assert reader.get("/s3/a", "X-Tenant: -").status == 200
    worker = set(node.plane._workers._threads)
    assert reader.get("/s3/a", "X-Tenant: -").status == 200
    assert (node.plane.stats.active, node.plane._workers._threads) == (1, worker)


def test_a_connection_over_which_an_admin_asks_counts_for_its_tenant_no_more(tmp_path, dialect):
    with (
        data_node(tmp_path / "own", dialect=dialect, connections_of=lambda _: 1) as node,
        node.connect() as first,
        node.connect() as second,
    ):
        assert first.get("/s3/a", "X-Tenant: blue").status == 200
        assert first.get("/s3/a", "X-Tenant: -").status == 200
        assert second.get("/s3/a", "X-Tenant: blue").status == 200


def test_a_tenants_connections_are_counted(tmp_path, dialect):
    with (
        data_node(tmp_path / "own", dialect=dialect, connections_of=lambda _: 1) as node,
        node.connect() as first,
        node.connect() as second,
        node.connect() as other,
    ):
        assert first.get("/s3/a", "X-Tenant: blue").status == 200
        assert second.get("/s3/a", "X-Tenant: blue").body.startswith(b"no 429 ")
        assert other.get("/s3/a", "X-Tenant: red").status == 200


def test_a_field_that_would_end_its_line_never_leaves(node, reader, dialect):
    dialect.more["x-name"] = "a\r\nx-evil: b"
    reply = reader.get("/s3/a")
    assert (reply.status, reply.body) == (500, b"no 500 the node failed; its log says why")
    assert node.plane.stats.refused["unexpected"] == 1


def test_what_leaves_is_counted_as_what_replicas_read(node, reader):
    reader.get("/s3/big")
    reader.get("/s3/none")
    assert settled(lambda: node.plane.stats.bytes_sent == len(BIG) + len("no such thing"))
    assert (node.plane.stats.requests, node.plane.stats.refused["404"]) == (2, 1)


def test_a_generation_counts_as_read_while_its_bytes_leave(node, reader, dialect):
    file = dialect.shelf.add("filling", BIG, present={0})
    reader.ask("/s3/filling")
    assert reader.head()[0] == 200
    assert node.plane.generations == {dialect.shelf.generation}
    file.land(1)
    reader.take(len(BIG))
    assert settled(lambda: not node.plane.generations)


def test_readers_of_one_file_do_not_wait_for_each_other(node, dialect):
    file = dialect.shelf.add("filling", BIG, present=set())
    readers = [node.connect() for _ in range(20)]
    for reader in readers:
        reader.ask("/s3/filling")
    assert file.waiting.wait(10)
    with node.connect() as another:
        assert another.get("/s3/a").body == b"weights"
    threading.Thread(target=lambda: [file.land(0), file.land(1)]).start()
    for reader in readers:
        assert reader.reply().body == BIG
        reader.sock.close()
