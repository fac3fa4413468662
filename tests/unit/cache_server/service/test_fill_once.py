"""Any number of callers share one fill; what happens to it happens to all of them."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import (
    BusyError,
    IntegrityError,
    OriginDeniedError,
    OriginUnavailableError,
    UnknownPipelineError,
)
from cache_server.core.content import ModelSpec
from cache_server.core.fill_order import FillOrder
from tests.fakes.origin import MemoryOrigin
from tests.fakes.service import LIMIT, SOURCE, VOICE, chunks

TOTAL = 2 + len(chunks(2.5))


def test_many_callers_share_one_fill_and_every_byte_comes_once(bench, origin):
    bench.put()
    with origin.held(), ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: bench.service.ensure(VOICE), range(100)))
        generations = {answer.result(LIMIT).id for answer in answers}
    assert bench.settle() is None
    assert len(generations) == 1
    assert (origin.sent.total(), bench.pulled) == (TOTAL, TOTAL)


def test_a_warm_slot_is_answered_without_asking_the_origin(bench, origin):
    bench.put()
    bench.warm()
    asked = origin.resolves, len(origin.requests)
    assert bench.read("w.dat", bench.open()) == origin.files["w.dat"]
    assert (origin.resolves, len(origin.requests)) == asked


def test_chunks_are_read_while_the_rest_is_still_on_its_way(bench, origin):
    bench.put()
    with origin.held():
        generation = bench.open()
        file = generation.file("m", "w.dat")
        origin.wait_until_stalled()
        with pytest.raises(TimeoutError):
            file.present_until(0, 0.01)
        assert not generation.published
    assert file.present_until(0, LIMIT) >= CHUNK_SIZE
    assert bench.settle() is None


def test_a_reader_has_its_chunk_while_another_file_stalls(node, origin):
    origin.files = {"a.dat": chunks(0.1)}
    stuck = MemoryOrigin({"b.dat": chunks(0.1)})
    with node({"file:///b": stuck}) as bench, stuck.held():
        bench.put(ModelSpec("m", SOURCE), ModelSpec("n", "file:///b"))
        generation = bench.open()
        assert bench.read("a.dat", generation) == origin.files["a.dat"]
        assert bench.cache()["state"] == "filling"
        stuck.gate.set()
        assert bench.settle() is None


def test_what_a_reader_waits_for_comes_next(bench, origin, monkeypatch):
    claimed: list[int] = []
    claim = FillOrder.next
    monkeypatch.setattr(FillOrder, "next", lambda order: noted(claim(order)))

    def noted(extent):
        claimed.extend([] if extent is None else [extent.begin])
        return extent

    origin.files = {"w.dat": chunks(10)}
    bench.put()
    with origin.held():
        generation = bench.open()
        origin.wait_until_stalled(8)
        wanted = threading.Event()
        want = generation.progress.want
        generation.progress.want = lambda file, chunk: (want(file, chunk), wanted.set())
        with ThreadPoolExecutor(1) as pool:
            reader = pool.submit(generation.file("m", "w.dat").present_until, 9 * CHUNK_SIZE, LIMIT)
            assert wanted.wait(LIMIT)
            origin.gate.set()
            reader.result(LIMIT)
    assert claimed.index(9) == 8
    bench.settle()


def test_the_fill_goes_on_when_its_caller_leaves(bench, origin):
    bench.put()
    with origin.held():
        bench.service.ensure(VOICE).cancel()
    assert bench.settle() is None
    assert bench.cache()["warm"]


def test_an_error_reaches_every_waiter_and_the_next_caller_tries_afresh(bench, origin):
    origin.deny(OriginDeniedError("gated"))
    bench.put()
    waiting = [bench.service.ensure(VOICE) for _ in range(5)]
    assert {str(w.exception(LIMIT)) for w in waiting} == {"gated"}
    bench.settle()
    assert bench.cache()["last_error"]["retry"] == "never"
    origin.deny(None)
    assert bench.warm() is None
    assert "last_error" not in bench.cache()


def test_one_origin_that_says_no_is_told_although_another_one_does_not_answer(node, origin):
    silent = MemoryOrigin()
    silent.fail_resolve(OriginUnavailableError("busy", retry_after=59), times=8)
    origin.deny(OriginDeniedError("gated"))
    with node({"file:///b": silent}) as bench:
        bench.put(ModelSpec("n", "file:///b"), ModelSpec("m", SOURCE))
        assert str(bench.service.ensure(VOICE).exception(5)) == "gated"


def test_readers_that_wait_for_a_chunk_are_told_why_none_comes(bench, origin):
    bench.put()
    with origin.held():
        generation = bench.open()
        origin.wait_until_stalled()
        origin.deny(OriginDeniedError("revoked"))
        origin.break_after("w.dat", 0, times=20)
    bench.settle()
    with pytest.raises(OriginDeniedError, match="revoked"):
        generation.file("m", "w.dat").verdict(LIMIT)


def test_a_pipeline_that_nobody_registered_is_unknown(bench):
    with pytest.raises(UnknownPipelineError):
        bench.service.ensure(VOICE)


def test_a_file_that_came_wrong_once_is_pulled_once_more(bench, origin):
    origin.corrupt("w.dat", 1)
    bench.put()
    assert bench.warm() is None
    assert origin.sent["w.dat"] == 2 * len(origin.files["w.dat"])
    assert bench.read("w.dat", bench.open()) == origin.files["w.dat"]


def test_a_file_that_came_wrong_twice_fails_the_fill_and_is_not_served(bench, origin):
    origin.corrupt("w.dat", 1, times=2)
    bench.put()
    assert isinstance(bench.warm(), IntegrityError)
    cache = bench.cache()
    assert (cache["state"], cache["warm"], cache["last_error"]["code"]) == (
        "cold",
        False,
        "integrity",
    )
    file = bench.slot().target.file("m", "w.dat")
    assert (file.sha256, file.map.filled) == (None, 0)
    assert bench.warm() is None


def test_a_git_blob_that_came_wrong_once_is_pulled_once_more(bench, origin):
    origin.digests, origin.git = True, {"config.json"}
    origin.corrupt("config.json", 0)
    bench.put()
    assert bench.warm() is None
    assert origin.sent["config.json"] == 2 * len(origin.files["config.json"])


def test_a_git_blob_that_came_wrong_twice_fails_the_fill(bench, origin):
    origin.git = {"config.json"}
    origin.corrupt("config.json", 0, times=2)
    bench.put()
    assert isinstance(bench.warm(), IntegrityError)


def test_where_the_origin_has_no_digest_ours_is_recorded_before_the_slot_is_warm(node, origin):
    origin.digests = False
    with node() as bench:
        bench.put()
        assert bench.warm() is None
        expected = hashlib.sha256(origin.files["w.dat"]).digest()
        assert bench.open().file("m", "w.dat").sha256 == expected
    with node() as bench:
        assert bench.open().file("m", "w.dat").sha256 == expected


def test_an_empty_file_is_part_of_a_warm_slot(bench, origin):
    origin.files = {"empty": b""}
    bench.put()
    assert bench.warm() is None
    assert bench.read("empty", bench.open()) == b""


def test_readers_are_told_of_a_failure_although_another_connection_hangs(node, origin):
    stuck = MemoryOrigin({"b.dat": chunks(0.1)})
    with node({"file:///b": stuck}) as bench, stuck.held():
        origin.fail(OriginDeniedError("revoked"))  # at the first open
        bench.put(ModelSpec("n", "file:///b"), ModelSpec("m", SOURCE))
        generation = bench.open()
        with pytest.raises(OriginDeniedError, match="revoked"):
            generation.file("n", "b.dat").verdict(5)


def no_threads(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")


def test_without_threads_a_caller_is_told_and_the_next_one_tries_afresh(bench, monkeypatch):
    bench.put()
    bench.resolved()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_threads)
        with pytest.raises(BusyError, match="no further thread"):
            bench.open()
    assert bench.open().id
    assert bench.settle() is None


def test_a_change_holds_although_no_origin_could_be_asked_at_once(bench, monkeypatch):
    bench.put()
    assert bench.warm() is None
    changed = ModelSpec("m", SOURCE, include=("config.json",))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_threads)
        assert not bench.put(changed)
    assert bench.service.contents.specs(VOICE) == (changed,)
    assert bench.warm() is None
    assert [f.origin.path for f in bench.open().files] == ["config.json"]
