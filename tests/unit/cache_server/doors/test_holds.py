"""Leases for programs that know of none."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from cache_protocol.errors import DrainingError
from cache_server.catalogue.registry import Key
from cache_server.doors.holds import IDLE, IDLE_AT_THE_END, RENEWAL, Holds, Reader
from cache_server.service.leases import TERM
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, VOICE, running_service

SOMEBODY = Reader("t1", VOICE)


@pytest.fixture
def bench(tmp_path, quick_retries):
    origins = MemoryOrigins({SOURCE: MemoryOrigin({"a.dat": b"a"})})
    with running_service(tmp_path / "root", origins) as bench:
        bench.reconciled()
        bench.put()
        assert bench.warm() is None
        yield bench


@pytest.fixture
def busy():
    """The generations whose bytes leave now."""
    return set()


@pytest.fixture
def holds(bench, busy):
    return Holds(bench.service, lambda: busy, bench.clock.monotonic)


@pytest.fixture
def generation(bench):
    return bench.open()


def readers(bench, key: Key = VOICE) -> int:
    return bench.service.leases.readers(key)


def test_many_requests_of_one_reader_are_one_lease(bench, holds, generation):
    for _ in range(3):
        holds.take(SOMEBODY, generation)
    assert readers(bench) == 1
    holds.take(Reader("t2", VOICE), generation)
    assert readers(bench) == 2


def test_whoever_asks_nothing_for_a_while_is_gone(bench, holds, generation):
    holds.take(SOMEBODY, generation)
    bench.clock.advance(IDLE)
    holds.upkeep()
    assert holds.has(SOMEBODY, generation)
    bench.clock.advance(1)
    holds.upkeep()
    assert not holds.has(SOMEBODY, generation)
    assert readers(bench) == 0


def test_who_goes_on_asking_holds_for_longer_than_a_lease_lasts(bench, holds, generation):
    for _ in range(int(TERM.total_seconds() // 20) + 2):
        holds.take(SOMEBODY, generation)
        bench.clock.advance(20)
        holds.upkeep()
    assert readers(bench) == 1


def test_a_download_that_takes_long_holds_to_its_end(bench, holds, busy, generation):
    holds.take(SOMEBODY, generation)
    busy.add(generation.id)
    for _ in range(10):
        bench.clock.advance(RENEWAL)
        holds.upkeep()
    assert readers(bench) == 1
    busy.clear()
    bench.clock.advance(IDLE + 1)
    holds.upkeep()
    assert readers(bench) == 0


def test_a_hold_that_was_taken_away_is_not_renewed_behind_its_back(bench, holds, generation):
    holds.take(SOMEBODY, generation)
    bench.service.removal.evict(VOICE, force=True)
    holds.upkeep()
    assert not holds.has(SOMEBODY, generation)


def test_who_reads_on_after_a_hold_was_taken_away_holds_anew(bench, holds, generation):
    holds.take(SOMEBODY, generation)
    bench.service.removal.evict(VOICE, force=True)
    assert bench.warm() is None
    again = bench.service.contents.at_hand(VOICE)
    assert again.id == generation.id
    holds.take(SOMEBODY, again)
    assert readers(bench) == 1
    holds.upkeep()
    assert readers(bench) == 1


def test_while_the_node_is_being_stopped_old_readers_go_on_and_new_ones_do_not_begin(
    bench, holds, generation
):
    holds.take(SOMEBODY, generation)
    bench.service.drain()
    holds.take(SOMEBODY, generation)
    with pytest.raises(DrainingError):
        holds.take(Reader("t2", VOICE), generation)


def test_a_node_that_is_being_stopped_does_not_wait_for_who_only_might_come_back(
    bench, holds, generation
):
    holds.take(SOMEBODY, generation)
    bench.service.drain()
    bench.clock.advance(IDLE_AT_THE_END + 1)
    holds.upkeep()
    assert readers(bench) == 0


def test_connections_that_begin_at_once_are_one_reader(bench, holds, generation):
    with ThreadPoolExecutor(8) as threads:
        for taken in [threads.submit(holds.take, SOMEBODY, generation) for _ in range(64)]:
            taken.result()
    assert readers(bench) == 1
