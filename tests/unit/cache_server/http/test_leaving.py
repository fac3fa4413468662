"""Connections that leave the control port for the data plane, and come back: plain, encrypted."""

import asyncio
import random
import socket

import pytest

from cache_server.http.leaving import _come_back
from tests.fakes.certificates import Authority
from tests.fakes.data_node import settled
from tests.fakes.ports import BIG, OTHER, both_ports


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module", params=["plain", "encrypted"])
def ports(request, tmp_path_factory, authority):
    encrypted = authority if request.param == "encrypted" else None
    with both_ports(tmp_path_factory.mktemp("ports"), encrypted) as ports:
        yield ports


@pytest.fixture(params=["plain", "encrypted"])
def fresh(request, tmp_path, authority):
    with both_ports(tmp_path, authority if request.param == "encrypted" else None) as ports:
        yield ports


@pytest.fixture
def reader(ports):
    with ports.connect() as connected:
        yield connected


def test_what_is_asked_under_the_prefix_is_answered_by_the_data_plane(ports, reader):
    sent = ports.plane.stats.bytes_sent
    reply = reader.get("/s3/big")
    assert (reply.status, reply.body == BIG) == (200, True)
    assert settled(lambda: ports.plane.stats.bytes_sent >= sent + len(BIG))


def test_further_requests_of_the_connection_are_answered_there(ports, reader):
    for _ in range(3):
        assert reader.get("/s3/a").body == b"weights"
    assert settled(lambda: not ports.crowd.waiting)


def test_everything_else_is_answered_on_the_control_port(ports, reader):
    before = ports.plane.stats.requests
    for path in ("/healthz", "/healthz?next=/s3/a"):
        assert reader.get(path).body == OTHER
    assert reader.get("/s3x/a").status == 401
    assert ports.plane.stats.requests == before


def test_a_connection_goes_to_and_fro_as_it_is_asked(reader):
    for _ in range(3):
        assert reader.get("/s3/a").body == b"weights"
        assert reader.get("/healthz").body == OTHER
    assert reader.get("/s3/big").body == BIG


def test_requests_of_both_kinds_without_a_pause_are_answered_in_order(reader):
    ask = "GET {} HTTP/1.1\r\nHost: node\r\n\r\n".format
    paths = ["/healthz", "/s3/a", "/s3/a", "/healthz", "/healthz", "/s3/a"]
    reader.send("".join(map(ask, paths)).encode())
    bodies = [reader.reply().body for _ in paths]
    assert bodies == [OTHER if path == "/healthz" else b"weights" for path in paths]


def test_a_request_that_comes_byte_by_byte_leaves_once_it_is_clear_where_to(reader):
    for byte in b"GET /s3/a HTTP/1.1\r\nHost: node\r\n\r\n":
        reader.send(bytes([byte]))
    assert reader.reply().body == b"weights"


def test_one_that_comes_back_byte_by_byte_is_answered(reader):
    assert reader.get("/s3/a").body == b"weights"
    for byte in b"GET /healthz HTTP/1.1\r\nHost: node\r\n\r\n":
        reader.send(bytes([byte]))
    assert reader.reply().body == OTHER


def test_a_url_as_target_leads_there_too(reader):
    assert reader.get("http://node:8080/s3/a").body == b"weights"


def test_a_method_that_writes_is_refused_by_the_data_plane(reader):
    assert reader.get("/s3/a", "Content-Length: 0", method="DELETE").body.startswith(b"no 405")


def test_a_connection_that_is_to_end_ends(reader):
    assert reader.get("/s3/a", "Connection: close").body == b"weights"
    assert reader.ended()


def test_what_a_request_leaves_on_the_control_port_is_nothing(ports):
    for _ in range(5):
        with ports.connect() as reader:
            reader.get("/s3/a")
    assert settled(lambda: not ports.plane.stats.connections and not ports.crowd.waiting)


def test_a_crowd_of_them_is_answered_at_once(ports):
    readers = [ports.connect() for _ in range(40)]
    for reader in readers:
        reader.ask("/s3/a")
    for reader in readers:
        assert reader.reply().body == b"weights"
        reader.sock.close()


def test_those_that_left_do_not_count_among_connections_that_wait(tmp_path):
    with both_ports(tmp_path, limit=2) as ports:
        readers = []
        for _ in range(5):
            readers.append(ports.connect())
            assert readers[-1].get("/s3/a").body == b"weights"
        for reader in readers:
            assert reader.get("/s3/a").body == b"weights"
            reader.sock.close()


def test_one_that_says_nothing_more_after_it_came_back_is_sent_away(tmp_path):
    with both_ports(tmp_path, patience=0.3) as ports, ports.connect() as reader:
        reader.get("/s3/a")
        reader.get("/healthz")
        assert reader.ended()


def test_who_leaves_without_reading_is_forgotten(ports):
    for _ in range(5):
        reader = ports.connect()
        reader.ask("/s3/big")
        reader.sock.close()
    assert settled(lambda: ports.plane.stats.connections == 0)


def test_a_data_plane_that_closes_ends_them_and_takes_no_more(fresh):
    with fresh.connect() as early, fresh.connect() as late:
        assert early.get("/s3/a").body == b"weights"
        fresh.plane.close()
        assert early.ended()
        late.ask("/s3/a")
        assert late.ended()


def test_one_whose_head_comes_in_two_parts_behind_an_answer_leaves_with_both(reader):
    head = b"GET %b HTTP/1.1\r\nHost: node\r\n"
    reader.send(head % b"/healthz" + b"\r\n" + head % b"/s3/a")
    assert reader.reply().body == OTHER
    reader.send(b"\r\n")
    assert reader.reply().body == b"weights"


@pytest.mark.parametrize("seed", range(10))
def test_however_requests_of_both_kinds_are_cut_each_gets_its_answer_in_its_turn(reader, seed):
    draw = random.Random(seed)
    paths = draw.choices(["/healthz", "/s3/a"], k=12)
    sent = "".join(f"GET {path} HTTP/1.1\r\nHost: node\r\n\r\n" for path in paths).encode()
    cuts = sorted(draw.sample(range(len(sent)), k=8))
    for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        reader.send(sent[begin:end])
    bodies = [reader.reply().body for _ in paths]
    assert bodies == [OTHER if path == "/healthz" else b"weights" for path in paths]


@pytest.fixture
def coming():
    """A connection that is on its way back, and its peer."""
    ours, peer = socket.socketpair()
    with ours, peer:
        ours.setblocking(False)
        peer.settimeout(10)
        yield ours, peer


def test_a_connection_that_comes_back_after_the_end_of_the_loop_is_closed(coming):
    ours, peer = coming
    loop = asyncio.new_event_loop()
    loop.close()
    _come_back(loop, pytest.fail, ours, b"", None)
    assert peer.recv(1) == b""


def test_a_bug_on_the_way_back_is_logged_and_closes_the_connection(coming, caplog):
    ours, peer = coming

    def make(_):
        raise LookupError("a bug")

    async def wait_for_its_end():
        _come_back(asyncio.get_running_loop(), make, ours, b"", None)
        assert await asyncio.to_thread(peer.recv, 1) == b""

    asyncio.run(wait_for_its_end())
    assert "LookupError: a bug" in caplog.text
