import os

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import IntegrityError, OriginChangedError
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import LIMIT, SOURCE, chunks, running_service

DATA = chunks(1.5)


@pytest.fixture
def origin():
    return MemoryOrigin({"a.dat": b"other", "w.dat": DATA})


@pytest.fixture
def bench(tmp_path, origin, quick_retries):
    with running_service(tmp_path / "root", MemoryOrigins({SOURCE: origin})) as bench:
        bench.put()
        assert bench.warm() is None
        yield bench


def flip(file, at: int) -> None:
    """Change one byte on disk, as a failing disk does."""
    fd = os.open(file.path, os.O_RDWR)
    try:
        os.pwrite(fd, bytes([os.pread(fd, 1, at)[0] ^ 1]), at)
    finally:
        os.close(fd)


def weights(bench):
    return bench.open().file("m", "w.dat")


def test_a_flipped_byte_is_repaired_from_the_origin_by_its_chunk_alone(bench, origin):
    flip(weights(bench), CHUNK_SIZE + 3)
    before = origin.sent["w.dat"], bench.pulled
    weights(bench).revalidate(1, LIMIT)
    assert bench.read("w.dat", bench.open()) == DATA
    extra = len(DATA) - CHUNK_SIZE
    assert (origin.sent["w.dat"], bench.pulled) == (before[0] + extra, before[1] + extra)
    assert bench.service.figures.status()["repaired_chunks"] == 1
    assert bench.cache()["state"] == "warm"


def test_a_chunk_that_is_right_costs_the_origin_nothing(bench, origin):
    before = origin.sent["w.dat"]
    weights(bench).revalidate(0, LIMIT)
    assert origin.sent["w.dat"] == before


def test_a_file_that_was_cut_short_under_a_running_node_is_repaired(bench):
    os.truncate(weights(bench).path, CHUNK_SIZE)
    weights(bench).revalidate(1, LIMIT)
    assert bench.read("w.dat", bench.open()) == DATA


def test_a_repair_that_comes_wrong_once_is_tried_again(bench, origin):
    flip(weights(bench), 3)
    origin.corrupt("w.dat", 0)
    weights(bench).revalidate(0, LIMIT)
    assert bench.read("w.dat", bench.open()) == DATA


def test_a_repair_that_comes_wrong_twice_makes_the_slot_cold_and_fills_it_again(bench, origin):
    flip(weights(bench), 3)
    origin.corrupt("w.dat", 0, times=2)
    with pytest.raises(IntegrityError):
        weights(bench).revalidate(0, LIMIT)
    assert bench.settle() is None
    assert bench.read("w.dat", bench.open()) == DATA
    assert bench.cache()["state"] == "warm"


def test_a_damaged_slot_whose_origin_moved_on_is_filled_with_what_there_is_now(bench, origin):
    old = bench.open()
    flip(weights(bench), 3)
    origin.files["w.dat"] = chunks(1.2, seed=5)
    with pytest.raises(OriginChangedError):
        old.file("m", "w.dat").revalidate(0, LIMIT)
    assert bench.settle() is None
    new = bench.open()
    assert new.id != old.id
    assert bench.read("w.dat", new) == origin.files["w.dat"]
    bench.keep_house()
    assert bench.on_disk() == [new.id]
    assert bench.service.figures.status()["used"] == new.room


def test_a_slot_found_damaged_during_its_refresh_is_warm_when_that_is_over(bench, origin):
    old = bench.open()
    flip(old.file("m", "w.dat"), 3)
    origin.files["w.dat"] = chunks(1.2, seed=5)
    with origin.held():
        bench.service.warm(bench.slot().registration.key, refresh=True)
        origin.wait_until_stalled()
        with pytest.raises(OriginChangedError):
            old.file("m", "w.dat").revalidate(0, LIMIT)
        assert bench.cache()["state"] == "filling"
    assert bench.settle() is None
    assert (bench.cache()["state"], bench.cache()["warm"]) == ("warm", True)
    bench.keep_house()
    assert bench.on_disk() == [bench.open().id]
