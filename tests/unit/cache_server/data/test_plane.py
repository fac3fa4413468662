import errno
import json
import os
import random
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from cache_protocol.digests import CHUNK_SIZE, chunk_span
from cache_protocol.errors import IntegrityError, OriginDeniedError, OriginUnavailableError
from cache_protocol.routes import DIGESTS, VERDICTS
from cache_server.data.plane import DataPlane
from tests.fakes.data_node import QUICK, data_node, settled
from tests.fakes.reader import KEYS, Reader, signed, target
from tests.fakes.shelf import FakeShelf

if TYPE_CHECKING:
    from cache_server.ports import ReadableFile

SMALL = bytes(range(256)) * 4
BIG = random.Random(7).randbytes(3 * CHUNK_SIZE - 1000)  # three chunks, the last one shorter


@pytest.fixture
def node(tmp_path):
    with data_node(tmp_path) as running:
        yield running


@pytest.fixture
def reader(node):
    with node.connect() as connected:
        yield connected


# -- what is answered ---------------------------------------------------------------------------


def test_a_whole_file_arrives_with_what_identifies_it(node, reader):
    file = node.shelf.add("dir/a b.dat", BIG)
    reply = reader.get(target("dir/a b.dat"))
    assert (reply.status, reply.body) == (200, BIG)
    assert reply.fields["accept-ranges"] == "bytes"
    assert reply.fields["etag"] == file.etag
    assert reply.fields["content-type"] == "application/octet-stream"


def test_a_range_over_chunks_arrives(node, reader):
    node.shelf.add("a", BIG)
    reply = reader.get(target("a"), f"Range: bytes={CHUNK_SIZE - 5}-{2 * CHUNK_SIZE + 4}")
    assert (reply.status, reply.body) == (206, BIG[CHUNK_SIZE - 5 : 2 * CHUNK_SIZE + 5])
    assert reply.fields["content-range"] == (
        f"bytes {CHUNK_SIZE - 5}-{2 * CHUNK_SIZE + 4}/{len(BIG)}"
    )


def test_an_empty_file_arrives(node, reader):
    node.shelf.add("a", b"")
    assert reader.get(target("a")).body == b""
    assert reader.get(target("a"), "Range: bytes=0-").status == 416
    assert reader.get(target("a", kind=DIGESTS)).body == b""


def test_a_head_request_gets_the_head_at_once_while_the_file_fills(node, reader):
    node.shelf.add("a", BIG, present=set())
    reply = reader.get(target("a"), method="HEAD")
    assert (reply.status, reply.fields["content-length"]) == (200, str(len(BIG)))


def test_a_copy_that_the_reader_has_is_not_sent_again(node, reader):
    file = node.shelf.add("a", SMALL)
    assert reader.get(target("a"), f"If-None-Match: {file.etag}").status == 304
    assert reader.get(target("a")).body == SMALL


def test_the_digest_table_is_readable_by_range(node, reader):
    file = node.shelf.add("a", BIG)
    assert reader.get(target("a", kind=DIGESTS)).body == file.table
    assert reader.get(target("a", kind=DIGESTS), "Range: bytes=10-40").body == file.table[10:41]


def test_file_and_digest_table_have_different_tags(node, reader):
    node.shelf.add("a", SMALL)
    kinds = ("files", DIGESTS, VERDICTS)
    assert len({reader.get(target("a", kind=k)).fields["etag"] for k in kinds}) == 3


def test_the_verdict_has_48_bytes(node, reader):
    file = node.shelf.add("a", BIG)
    assert reader.get(target("a", kind=VERDICTS)).body == file.verdict(0)


def test_an_unknown_name_is_not_found(reader):
    reply = reader.get(target("nothing"))
    assert (reply.status, json.loads(reply.body)["retry"]) == (404, "never")


def test_a_path_of_another_form_is_not_found(reader):
    assert reader.get(signed("/etc/passwd")).status == 404


def test_a_generation_that_was_given_up_is_gone(node, reader):
    node.shelf.gone = True
    assert reader.get(target("a")).status == 410


def test_a_file_given_up_between_look_up_and_open_is_gone(node, reader):
    node.shelf.add("a", SMALL).gone = True
    assert reader.get(target("a")).status == 410


def test_a_request_without_a_ticket_is_refused_and_the_connection_goes_on(node, reader):
    node.shelf.add("a", SMALL)
    assert reader.get(target("a").partition("?")[0]).status == 403
    assert reader.get(target("a")).status == 200


def test_a_method_that_is_not_allowed_ends_the_connection(reader):
    reply = reader.get("/files", method="DELETE")
    assert (reply.status, reply.fields["allow"]) == (405, "GET, HEAD")
    assert reader.ended()


# -- bytes that are still being filled ----------------------------------------------------------


def test_bytes_are_sent_as_their_chunks_arrive(node, reader):
    file = node.shelf.add("a", BIG, present=set())
    reader.ask(target("a"))
    assert file.waiting.wait(5)
    for chunk in range(3):
        file.land(chunk)
        begin, end = chunk_span(chunk, len(BIG))
        if chunk == 0:
            assert reader.head()[0] == 200
        assert reader.take(end - begin) == BIG[begin:end]
    assert file.waited_for[0] == 0


def test_a_wait_of_several_slices_is_no_failure(node, reader):
    file = node.shelf.add("a", SMALL, present=set())
    reader.ask(target("a"))
    assert settled(lambda: len(file.waited_for) > 2)
    file.land(0)
    assert reader.reply().body == SMALL


def test_an_entry_of_the_digest_table_is_sent_when_its_chunk_is_there(node, reader):
    file = node.shelf.add("a", BIG, present={0})
    reader.ask(target("a", kind=DIGESTS))
    assert reader.head()[0] == 200
    assert reader.take(16) == file.table[:16]
    file.land(2)
    file.land(1)
    assert reader.take(32) == file.table[16:]


def test_the_verdict_waits_until_the_file_is_confirmed(node, reader):
    file = node.shelf.add("a", SMALL, present={0})
    reader.ask(target("a", kind=VERDICTS))
    assert file.waiting.wait(5)
    file.confirm()
    assert reader.reply().body == file.verdict(0)


def test_a_fill_that_fails_before_the_first_byte_is_a_status_with_its_reason(node, reader):
    node.shelf.add("a", BIG, present=set()).fail(OriginDeniedError("gated"))
    reply = reader.get(target("a"))
    problem = json.loads(reply.body)
    assert reply.status == 503
    assert (problem["code"], problem["detail"]) == ("origin-denied", "gated")
    assert problem["retry"] == "never"


def test_an_origin_that_wants_to_wait_is_passed_on(node, reader):
    busy = OriginUnavailableError("429", retry_after=7)
    node.shelf.add("a", BIG, present=set()).fail(busy)
    assert reader.get(target("a", kind=VERDICTS)).fields["retry-after"] == "7"


def test_a_fill_that_fails_in_the_middle_ends_the_connection_short(node, reader):
    file = node.shelf.add("a", BIG, present={0})
    reader.ask(target("a"))
    assert reader.head()[0] == 200
    assert reader.take(CHUNK_SIZE) == BIG[:CHUNK_SIZE]
    file.fail(IntegrityError("chunk 1"))
    assert reader.ended()
    assert settled(lambda: node.plane.stats.refused == {"fill-failed": 1})


def test_a_chunk_that_never_comes_is_given_up(tmp_path):
    with data_node(tmp_path, replace(QUICK, wait_time=0.1)) as node, node.connect() as reader:
        node.shelf.add("a", SMALL, present=set())
        assert reader.get(target("a")).status == 503


def test_a_reader_that_leaves_while_it_waits_gives_its_thread_back(node):
    file = node.shelf.add("a", SMALL, present=set())
    with node.connect() as reader:
        reader.ask(target("a"))
        assert file.waiting.wait(5)
    assert settled(lambda: node.plane.stats.active == 0)
    assert node.plane.stats.refused == {"reader-left": 1}


def test_a_reader_that_leaves_in_the_middle_is_no_error(node, caplog):
    node.shelf.add("a", BIG)
    with node.connect() as reader:
        reader.ask(target("a"))
        reader.take(10)
    assert settled(lambda: node.plane.stats.connections == 0)
    assert node.plane.stats.refused == {"reader-left": 1}
    assert not caplog.records


# -- a chunk that a reader found wrong ----------------------------------------------------------


def test_a_doubted_chunk_is_checked_before_it_is_sent(node, reader):
    file = node.shelf.add("a", BIG)
    file.path.write_bytes(bytes(len(BIG)))  # rot
    ask = f"Range: bytes={CHUNK_SIZE}-{2 * CHUNK_SIZE - 1}"
    reply = reader.get(target("a"), ask, "Cache-Control: no-cache")
    assert reply.body == BIG[CHUNK_SIZE : 2 * CHUNK_SIZE]
    assert file.revalidated == [1]


def test_doubt_about_a_whole_file_is_ignored(node, reader):
    file = node.shelf.add("a", SMALL)
    assert reader.get(target("a"), "Cache-Control: no-cache").body == SMALL
    assert file.revalidated == []


def test_a_chunk_that_stays_wrong_is_not_sent(node, reader):
    file = node.shelf.add("a", SMALL)
    file.revalidation_error = IntegrityError("twice")
    reply = reader.get(target("a"), "Range: bytes=0-9", "Cache-Control: no-cache")
    assert (reply.status, json.loads(reply.body)["code"]) == (503, "integrity")


# -- the life of a connection -------------------------------------------------------------------


def test_requests_that_come_together_are_answered_in_order(node, reader):
    node.shelf.add("a", SMALL)
    one = f"GET {target('a')} HTTP/1.1\r\nHost: h\r\nRange: bytes=%d-%d\r\n\r\n"
    reader.send("".join(one % (n, n) for n in range(200)).encode())
    assert b"".join(reader.reply().body for _ in range(200)) == SMALL[:200]


def test_a_head_that_comes_in_pieces_is_put_together(node, reader):
    node.shelf.add("a", SMALL)
    for piece in (f"GET {target('a')} HT", "TP/1.1\r\nHost: h\r\n\r", "\n"):
        reader.send(piece.encode())
    assert reader.reply().body == SMALL


def test_a_peer_that_wants_to_close_is_closed(node, reader):
    node.shelf.add("a", SMALL)
    assert reader.get(target("a"), "Connection: close").fields["connection"] == "close"
    assert reader.ended()


def test_an_http_1_0_peer_is_closed_after_its_answer(node, reader):
    node.shelf.add("a", SMALL)
    assert reader.get(target("a"), version="1.0").body == SMALL
    assert reader.ended()


def test_an_expectation_is_ignored(node, reader):
    node.shelf.add("a", SMALL)
    assert reader.get(target("a"), "Expect: 100-continue").body == SMALL


def test_an_absolute_target_is_served(node, reader):
    node.shelf.add("a", SMALL)
    assert reader.get(f"http://cache:8081{target('a')}").body == SMALL


def test_a_parked_connection_is_served_again(node, reader):
    node.shelf.add("a", SMALL)
    for _ in range(3):
        assert reader.get(target("a")).body == SMALL
        assert settled(lambda: node.plane.stats.active == 0)


def test_an_idle_connection_is_closed_after_its_time(tmp_path):
    with data_node(tmp_path, replace(QUICK, idle_time=0.1)) as node, node.connect() as reader:
        assert reader.ended()
        assert settled(lambda: node.plane.stats.connections == 0)
        assert node.plane.stats.refused == {}


def test_answers_above_the_bound_are_told_to_come_back(tmp_path):
    with (
        data_node(tmp_path, replace(QUICK, active=1)) as node,
        node.connect() as first,
        node.connect() as second,
    ):
        file = node.shelf.add("a", SMALL, present=set())
        first.ask(target("a"))
        assert file.waiting.wait(5)
        reply = second.get(target("a"))
        assert (reply.status, reply.fields["retry-after"]) == (429, "1")
        assert json.loads(reply.body)["code"] == "busy"
        file.land(0)
        assert first.reply().body == SMALL


def test_connections_above_the_bound_are_told_to_come_back(tmp_path):
    with data_node(tmp_path, replace(QUICK, connections=1)) as node, node.connect() as first:
        node.shelf.add("a", SMALL)
        assert first.get(target("a")).status == 200
        with node.connect() as second:
            assert second.reply().status == 429
            assert second.ended()
        assert first.get(target("a")).status == 200


def test_accepted_sockets_have_the_options_of_the_listener(node, reader):
    node.shelf.add("a", SMALL)
    reader.get(target("a"))
    assert settled(lambda: node.plane._poller._parked)
    (connection,) = node.plane._poller._parked.values()
    assert connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16)[0] == 30
    assert connection.sock.getblocking()


# -- when something breaks ----------------------------------------------------------------------


def test_a_file_that_is_short_on_disk_cuts_the_answer_and_is_reported_once(node, caplog):
    file = node.shelf.add("weights", BIG)
    os.truncate(file.path, 1000)
    for _ in range(2):
        with node.connect() as reader:
            assert reader.get(target("weights")).whole is False
    assert settled(lambda: node.plane.stats.refused == {"truncated": 2})
    assert len(caplog.records) == 1
    assert "weights" in caplog.text


def test_a_file_that_went_with_its_generation_is_no_damage_of_the_disk(node, caplog):
    file = node.shelf.add("weights", BIG)
    file.ended = True
    os.truncate(file.path, 1000)
    with node.connect() as reader:
        assert reader.get(target("weights")).whole is False
    assert settled(lambda: node.plane.stats.refused == {"given-up": 1})
    assert not caplog.records


def test_a_bug_behind_the_shelf_is_a_500_and_the_plane_lives_on(node, caplog):
    node.shelf.add("a", SMALL)
    node.shelf.broken = RuntimeError("a bug")
    with node.connect() as reader:
        assert reader.get(target("a")).status == 500
        assert reader.ended()
    node.shelf.broken = None
    with node.connect() as reader:
        assert reader.get(target("a")).status == 200
    assert "RuntimeError: a bug" in caplog.text
    assert node.plane.stats.refused["unexpected"] == 1


def test_the_apology_for_a_bug_has_no_body_for_a_head(node, reader):
    node.shelf.add("a", SMALL)
    node.shelf.broken = RuntimeError("a bug")
    assert reader.get(target("a"), method="HEAD").status == 500
    assert reader.ended()


def test_a_bug_after_an_answer_ends_that_connection_and_no_other(node, monkeypatch, caplog):
    node.shelf.add("a", SMALL)
    park, failures = node.plane._poller._park, [RuntimeError("a bug")]

    def parked(connection, seconds):
        if connection.wire.tenant is not None and failures:
            raise failures.pop()
        park(connection, seconds)

    monkeypatch.setattr(node.plane._poller, "_park", parked)
    with node.connect() as reader, node.connect() as other:
        assert reader.get(target("a")).body == SMALL
        assert reader.ended()
        for _ in range(2):
            assert other.get(target("a")).body == SMALL
    assert "RuntimeError: a bug" in caplog.text


def test_a_file_that_cannot_be_opened_is_a_503(node, reader, caplog):
    node.shelf.add("a", SMALL).path.unlink()
    assert reader.get(target("a")).status == 503
    assert "cannot open" in caplog.text


def test_descriptors_are_closed_whatever_happens(node):
    files = [node.shelf.add(f"f{n}", BIG, present={0}) for n in range(3)]
    for file in files[:2]:
        file.fail(IntegrityError("x"))
    node.shelf.add("short", BIG)
    os.truncate(node.shelf._files["m", "short"].path, 10)
    before = set(os.listdir("/proc/self/fd"))
    for name in ("f0", "f1", "f2", "short"):
        with node.connect() as reader:
            reader.ask(target(name))
            reader.take(100)
    assert settled(lambda: node.plane.stats.connections == 0)
    assert set(os.listdir("/proc/self/fd")) <= before


def test_running_out_of_descriptors_pauses_accepting_and_no_more(node, monkeypatch, caplog):
    node.shelf.add("a", SMALL)
    listener = node.plane._poller._listener
    failures = iter([OSError(errno.EMFILE, "too many open files")])

    class Exhausted:
        def __getattr__(self, name):
            return getattr(listener, name)

        def accept(self):
            for error in failures:
                raise error
            return listener.accept()

    monkeypatch.setattr(node.plane._poller, "_listener", Exhausted())
    with node.connect() as reader:
        assert reader.get(target("a")).status == 200
    assert node.plane.stats.refused == {"accept": 1}
    assert "too many open files" in caplog.text


# -- start and end ------------------------------------------------------------------------------


def test_an_address_in_use_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
        with pytest.raises(OSError, match=str(port)):
            DataPlane(FakeShelf(tmp_path), lambda: KEYS, host=host, port=port)


def test_a_plane_that_never_started_can_be_closed_twice(tmp_path):
    plane = DataPlane(FakeShelf(tmp_path), lambda: KEYS, host="127.0.0.1", port=0)
    plane.close()
    plane.close()


def test_close_lets_a_running_answer_end_within_the_grace(tmp_path):
    with data_node(tmp_path) as node, node.connect() as idle, node.connect() as reader:
        file = node.shelf.add("a", SMALL, present=set())
        reader.ask(target("a"))
        assert file.waiting.wait(5)
        closing = threading.Thread(target=node.plane.close, args=(30,))
        closing.start()
        assert idle.ended()
        file.land(0)
        assert reader.reply().body == SMALL
        assert reader.ended()
        closing.join(10)
        assert not closing.is_alive()


def test_close_cuts_what_still_runs_after_the_grace(tmp_path):
    with data_node(tmp_path) as node, node.connect() as waiting, node.connect() as stalled:
        file = node.shelf.add("a", SMALL, present=set())
        node.shelf.add("b", BIG)
        waiting.ask(target("a"))
        stalled.ask(target("b"))  # and reads nothing: a thread sits in sendfile
        assert file.waiting.wait(5)
        assert settled(lambda: node.plane.stats.active == 2)
        node.plane.close()
        assert waiting.ended()
        assert node.plane.stats.active == 0
        assert node.plane.stats.refused == {"closing": 2}


def test_nothing_is_accepted_after_close(tmp_path):
    with data_node(tmp_path) as node:
        node.plane.close()
        with pytest.raises(ConnectionRefusedError):
            Reader(node.plane.address)


def test_the_counts_tell_what_was_served(node, reader):
    node.shelf.add("a", SMALL)
    reader.get(target("a"))
    reader.get(target("a"), "Range: bytes=0-9")
    reader.get(target("b"))
    stats = node.plane.stats
    assert (stats.requests, stats.bytes_sent) == (3, len(SMALL) + 10)
    assert (stats.connections, stats.refused) == (1, {"404": 1})


def test_the_fake_file_follows_the_port(tmp_path):
    file: ReadableFile = FakeShelf(tmp_path).add("a", BIG, present={0})
    assert file.present_until(5, 0) == CHUNK_SIZE
    with pytest.raises(TimeoutError):
        file.present_until(CHUNK_SIZE, 0)
