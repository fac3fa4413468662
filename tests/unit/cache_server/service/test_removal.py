import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cache_protocol.errors import (
    GenerationGoneError,
    OriginUnavailableError,
    SlotInUseError,
    UnknownPipelineError,
)
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.service import departures
from tests.fakes.origin import MemoryOrigin
from tests.fakes.service import LIMIT, SOURCE, VOICE, chunks

OTHER = "file:///other"


def nothing_is_left(bench) -> bool:
    return bench.on_disk() == [] and bench.service.figures.status()["used"] == 0


def test_a_removed_pipeline_leaves_nothing_and_says_what_was_freed(bench):
    bench.put()
    bench.warm()
    used = bench.service.figures.status()["used"]
    assert bench.service.removal.remove(VOICE, force=False) == used > 0
    assert nothing_is_left(bench)
    with pytest.raises(UnknownPipelineError):
        bench.service.figures.view(VOICE)


def test_a_pipeline_that_was_never_filled_frees_nothing(bench):
    bench.put()
    bench.resolved()
    assert bench.service.removal.remove(VOICE, force=False) == 0
    assert bench.on_disk() == []


def test_removal_ends_a_running_fill(bench, origin):
    bench.put()
    with origin.held(), ThreadPoolExecutor(1) as pool:
        generation = bench.open()
        origin.wait_until_stalled()
        removing = pool.submit(bench.service.removal.remove, VOICE, force=False)
        assert bench.slot().work.stopped.wait(LIMIT)
        with pytest.raises(UnknownPipelineError):
            bench.service.figures.view(VOICE)
        origin.gate.set()
        removing.result(LIMIT)
    with pytest.raises(GenerationGoneError):
        generation.file("m", "w.dat").present_until(0, LIMIT)
    assert nothing_is_left(bench)


def test_removal_while_the_origin_does_not_answer_does_not_wait_for_it(bench, origin):
    origin.fail_resolve(_busy(), times=8)
    bench.put()
    bench.service.warm(VOICE, refresh=False)
    bench.service.removal.remove(VOICE, force=False)
    assert nothing_is_left(bench)


def _busy():
    return OriginUnavailableError("busy", retry_after=59)


def test_a_slot_that_a_replica_reads_is_not_removed(bench):
    bench.put()
    generation = bench.open()
    bench.settle()
    lease = bench.grant(generation)
    with pytest.raises(SlotInUseError, match="1 replica"):
        bench.service.removal.remove(VOICE, force=False)
    bench.service.leases.give_back(lease.id)
    assert bench.service.removal.remove(VOICE, force=False)


def test_a_lease_that_ran_out_does_not_keep_a_slot(bench):
    bench.put()
    bench.grant(bench.open())
    bench.settle()
    bench.clock.advance(121)
    assert bench.service.removal.remove(VOICE, force=False)


def test_force_removes_under_a_reader_whose_lease_ends(bench):
    bench.put()
    lease = bench.grant(bench.open())
    bench.settle()
    bench.service.removal.remove(VOICE, force=True)
    with pytest.raises(GenerationGoneError):
        bench.service.leases.renew(lease.id)
    bench.put()
    bench.warm()
    assert bench.service.removal.remove(VOICE, force=False)


def test_the_same_registration_twice_is_not_new_and_pulls_nothing(bench, origin):
    assert bench.put() is True
    bench.warm()
    pulled = bench.pulled
    assert bench.put() is False
    assert bench.settle() is None
    assert (bench.pulled, bench.cache()["state"], origin.resolves) == (pulled, "warm", 1)


def test_a_pipeline_that_was_removed_can_be_registered_and_filled_again(bench):
    bench.put()
    bench.warm()
    bench.service.removal.remove(VOICE, force=False)
    assert bench.put() is True
    assert bench.warm() is None


def test_changed_models_make_a_warm_slot_cold_and_its_readers_finish(node, origin):
    with node({OTHER: MemoryOrigin({"o.dat": b"other"})}) as bench:
        bench.put()
        old = bench.open()
        bench.settle()
        lease = bench.grant(old)
        assert bench.put(ModelSpec("m", OTHER)) is False
        assert bench.cache()["state"] == "cold"
        bench.keep_house()
        assert bench.read("w.dat", old) == origin.files["w.dat"]
        bench.service.leases.give_back(lease.id)
        assert bench.warm() is None
        bench.keep_house()
        assert bench.on_disk() == [bench.open().id]
        assert bench.service.figures.status()["used"] == bench.open().room


def test_changed_models_end_a_running_fill(node, origin):
    with node({OTHER: MemoryOrigin({"o.dat": b"other"})}) as bench, ThreadPoolExecutor(1) as pool:
        bench.put()
        with origin.held():
            bench.open()
            origin.wait_until_stalled()
            work = bench.slot().work
            changing = pool.submit(bench.put, ModelSpec("m", OTHER))
            assert work.stopped.wait(LIMIT)
        changing.result(LIMIT)
        assert bench.warm() is None
        bench.keep_house()
        assert bench.on_disk() == [bench.open().id]


def test_models_that_change_and_change_back_during_a_fill_end_warm(node, origin):
    with node({OTHER: MemoryOrigin({"o.dat": b"other"})}) as bench, ThreadPoolExecutor(2) as pool:
        bench.put()
        with origin.held():
            bench.open()
            origin.wait_until_stalled()
            work = bench.slot().work
            away = pool.submit(bench.put, ModelSpec("m", OTHER))
            assert work.stopped.wait(LIMIT)
            back = pool.submit(bench.put)
        away.result(LIMIT)
        back.result(LIMIT)
        assert bench.warm() is None
        bench.keep_house()
        generation = bench.open()
        assert bench.on_disk() == [generation.id]
        assert bench.read("w.dat", generation) == origin.files["w.dat"]
        assert bench.service.figures.status()["used"] == generation.room


def test_a_refresh_without_news_changes_nothing(bench, origin):
    bench.put()
    bench.warm()
    before = bench.open(), bench.pulled
    assert bench.warm(refresh=True) is None
    assert (bench.open(), bench.pulled) == before


def test_a_refresh_keeps_the_old_content_warm_until_the_new_one_is_whole(bench, origin):
    bench.put()
    bench.warm()
    old = bench.open()
    lease = bench.grant(old)
    old_bytes = origin.files["w.dat"]
    origin.files["w.dat"] = chunks(1.2, seed=9)
    with origin.held():
        bench.service.warm(VOICE, refresh=True)
        origin.wait_until_stalled()
        assert bench.open() is old
        cache = bench.cache()
        assert (cache["state"], cache["warm"], cache["generation"]) == ("warm", True, old.id)
        assert cache["next"]["generation"] != old.id
    assert bench.settle() is None
    new = bench.open()
    bench.keep_house()
    assert bench.read("w.dat", old) == old_bytes
    assert bench.read("w.dat", new) == origin.files["w.dat"]
    bench.service.leases.give_back(lease.id)
    bench.keep_house()
    assert bench.on_disk() == [new.id]


def test_a_refresh_says_that_it_runs_before_its_origin_has_answered(bench, origin):
    bench.put()
    bench.warm()
    origin.fail_resolve(_busy())
    bench.service.warm(VOICE, refresh=True)
    assert bench.cache()["next"] == {"generation": None, "size": None, "filled": 0}


def test_content_that_moved_twice_leaves_no_half_filled_generation(bench, origin):
    bench.put()
    bench.warm()
    origin.files["w.dat"] = chunks(1.2, seed=3)
    with origin.held():
        bench.service.warm(VOICE, refresh=True)
        origin.wait_until_stalled()
        bench.slot().work.stop()
    bench.settle()
    assert len(bench.on_disk()) == 2
    origin.files["w.dat"] = chunks(1.2, seed=4)
    assert bench.warm(refresh=True) is None
    bench.keep_house()
    assert bench.on_disk() == [bench.open().id]
    assert bench.service.figures.status()["used"] == bench.open().room


def test_a_generation_directory_that_vanished_does_not_stop_a_removal(bench):
    bench.put()
    bench.warm()
    shutil.rmtree(bench.open().directory)
    bench.service.removal.remove(VOICE, force=False)
    assert nothing_is_left(bench)


def test_two_pipelines_of_one_source_share_no_byte(bench, origin):
    second = Key("default", "second")
    bench.put()
    bench.put(ModelSpec("m", SOURCE), key=second)
    assert bench.warm() is None
    assert bench.warm(second) is None
    bench.service.removal.remove(VOICE, force=False)
    assert bench.read("w.dat", bench.open(second)) == origin.files["w.dat"]


def test_deleting_what_was_replaced_keeps_nobody_waiting(bench, origin, monkeypatch):
    bench.put()
    bench.warm()
    origin.files["w.dat"] = chunks(1.2, seed=7)
    bench.warm(refresh=True)
    begun, gate, delete = threading.Event(), threading.Event(), departures.delete

    def slow_delete(place) -> None:
        begun.set()
        assert gate.wait(LIMIT)
        delete(place)

    monkeypatch.setattr(departures, "delete", slow_delete)
    with ThreadPoolExecutor(2) as pool:
        keeping_house = pool.submit(bench.keep_house)
        try:
            assert begun.wait(LIMIT)
            assert pool.submit(bench.cache).result(LIMIT)["warm"]
        finally:
            gate.set()
        keeping_house.result(LIMIT)
