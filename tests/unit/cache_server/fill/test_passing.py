"""Bytes on their way through the node: who pulls, who follows, and what is known of them."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from cache_protocol.digests import CHUNK_SIZE, chunk_digest
from cache_protocol.errors import (
    BusyError,
    GenerationGoneError,
    OriginDeniedError,
    OriginUnavailableError,
)
from cache_protocol.ranges import Span
from cache_server.core.content import Content, ModelSpec, select
from cache_server.fill import passing as module
from cache_server.fill import passing_file, turns
from cache_server.fill.passing import Bounds, PassingGeneration
from cache_server.fill.turns import Turns
from cache_server.fill.window import Window
from tests.fakes.origin import MemoryOrigin
from tests.fakes.service import LIMIT, chunks

BODY = chunks(5.5)


@pytest.fixture
def origin():
    return MemoryOrigin({"w.dat": BODY})


def passing(origin, **bounds):
    """Return the only file of a generation that passes through."""
    content = Content("t", "p", (select(ModelSpec("m", "file:///m"), origin.resolve()),))
    generation = PassingGeneration(content, {"m": origin}, Bounds(**bounds), reason="full")
    return generation.file("m", "w.dat")


@pytest.fixture
def file(origin):
    return passing(origin)


def read(file, begin=0, end=None, pause=lambda _: None):
    with closing(file.stream(Span(begin, file.size if end is None else end), pause)) as pieces:
        return b"".join(bytes(piece) for piece in pieces)


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (0, len(BODY)),
        (0, 1),
        (len(BODY) - 1, len(BODY)),
        (CHUNK_SIZE - 3, CHUNK_SIZE + 3),
        (CHUNK_SIZE, 2 * CHUNK_SIZE),
        (3 * CHUNK_SIZE + 7, len(BODY)),
    ],
)
def test_any_span_comes_through_with_and_without_others_to_follow(file, begin, end):
    assert read(file, begin, end) == BODY[begin:end]
    read(file)
    assert read(file, begin, end) == BODY[begin:end]


def test_without_memory_for_others_everything_comes_through_all_the_same(origin):
    file = passing(origin, window=Window(0))
    assert read(file) == read(file) == BODY
    assert origin.sent["w.dat"] == 2 * len(BODY)


def test_a_run_of_chunks_is_one_stream_from_the_origin(file, origin):
    read(file, 0, 4 * CHUNK_SIZE)
    assert [span for _, span in origin.requests] == [Span(0, 4 * CHUNK_SIZE)]


def test_replicas_at_the_same_time_cost_the_origin_one_stream(file, origin):
    with origin.held(), ThreadPoolExecutor(8) as pool:
        readers = [pool.submit(read, file) for _ in range(8)]
        origin.wait_until_stalled()
        origin.gate.set()
        assert {reader.result(LIMIT) for reader in readers} == {BODY}
    assert origin.sent["w.dat"] == len(BODY)


def test_who_comes_a_little_later_reads_what_is_still_in_memory(file, origin):
    read(file)
    assert read(file) == BODY
    assert origin.sent["w.dat"] == len(BODY)


def test_who_comes_much_later_pulls_for_itself(origin):
    file = passing(origin, window=Window(2))
    read(file)
    assert read(file) == BODY
    assert origin.sent["w.dat"] > len(BODY)


def test_when_the_one_who_pulls_leaves_a_follower_goes_on_at_the_next_byte(file, origin):
    first = file.stream(Span(0, len(BODY)), lambda _: None)
    got = len(next(first))
    follower = file.stream(Span(0, len(BODY)), lambda _: None)
    data = bytes(next(follower))
    first.close()
    assert data + b"".join(bytes(piece) for piece in follower) == BODY
    assert origin.sent["w.dat"] == len(BODY)
    assert got == len(data)


def test_nobody_follows_a_replica_that_takes_nothing(file, monkeypatch):
    monkeypatch.setattr(passing_file, "TICK", 0.01)
    monkeypatch.setattr(passing_file, "FOLLOW_WAIT", 0.03)
    with closing(file.stream(Span(0, len(BODY)), lambda _: None)) as slow:
        next(slow)
        assert read(file, 0, CHUNK_SIZE) == BODY[:CHUNK_SIZE]
        assert next(slow)


def test_a_chunk_that_a_replica_doubts_comes_from_the_origin_anew(file, origin):
    read(file)
    file.revalidate(1, 0)
    assert read(file, CHUNK_SIZE, 2 * CHUNK_SIZE) == BODY[CHUNK_SIZE : 2 * CHUNK_SIZE]
    assert origin.sent["w.dat"] == len(BODY) + CHUNK_SIZE


def test_an_origin_that_breaks_is_gone_on_with(file, origin, quick_retries):
    origin.break_after("w.dat", CHUNK_SIZE + 5, times=2)
    assert read(file) == BODY
    assert origin.sent["w.dat"] == len(BODY)


def test_an_origin_that_says_no_is_told(file, origin):
    origin.deny(OriginDeniedError("revoked"))
    with pytest.raises(OriginDeniedError, match="revoked"):
        read(file)


def test_who_waits_for_an_origin_and_leaves_ends_the_stream(file, origin):
    class LeftError(Exception):
        pass

    def pause(seconds):
        raise LeftError

    origin.fail(OriginUnavailableError("later", retry_after=30))
    with pytest.raises(LeftError):
        read(file, pause=pause)


def test_the_digest_of_a_chunk_that_has_not_passed_is_worked_out(file, origin):
    second = BODY[CHUNK_SIZE : 2 * CHUNK_SIZE]
    assert file.digests(range(1, 2), 0) == chunk_digest(second)
    assert origin.sent["w.dat"] == CHUNK_SIZE


def test_presence_reaches_as_far_as_digests_are_known(file):
    read(file, 0, 3 * CHUNK_SIZE)
    assert file.present_until(5, 0) == 3 * CHUNK_SIZE
    read(file)
    assert file.present_until(0, 0) == len(BODY)


def test_where_an_origin_sends_now_this_now_that_the_last_digest_counts(file, origin):
    origin.corrupt("w.dat", 0)
    wrong = read(file, 0, CHUNK_SIZE)
    assert file.digests(range(1), 0) == chunk_digest(wrong)
    file.revalidate(0, 0)
    read(file, 0, CHUNK_SIZE)
    assert file.digests(range(1), 0) == chunk_digest(BODY[:CHUNK_SIZE])


def test_no_more_streams_run_at_once_than_there_are_turns(origin, monkeypatch):
    monkeypatch.setattr(turns, "TICK", 0.01)
    asked = threading.Event()
    limited = Turns(1)
    file = passing(origin, turns=limited)
    with closing(file.stream(Span(0, 9), lambda _: None)) as first:
        next(first)
        with ThreadPoolExecutor(1) as pool:
            second = pool.submit(read, file, CHUNK_SIZE, CHUNK_SIZE + 9, lambda _: asked.set())
            assert asked.wait(LIMIT)
            assert limited.taken == 1
            first.close()
            assert len(second.result(LIMIT)) == 9
    assert limited.taken == 0


def test_who_gets_no_turn_for_too_long_is_told_to_come_back(origin, monkeypatch):
    monkeypatch.setattr(turns, "TICK", 0.01)
    monkeypatch.setattr(module, "TURN_WAIT", 0.0)
    with pytest.raises(BusyError):
        read(passing(origin, turns=Turns(0)))


def test_a_closed_generation_gives_its_memory_back_and_begins_no_stream(file, origin):
    read(file)
    generation = file._generation
    generation.close()
    assert generation.bounds.window._taken == 0
    assert origin.closed
    with pytest.raises(GenerationGoneError):
        read(file)


def test_what_came_from_the_origin_is_counted_once(origin):
    counted = Counter()
    file = passing(origin)
    file._generation.pulled = lambda size: counted.update(bytes=size)
    read(file)
    read(file)
    assert counted["bytes"] == len(BODY)
