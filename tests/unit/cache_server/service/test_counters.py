"""What the node counts of its own doing, over a service that really does it."""

import os

import pytest

from cache_protocol.errors import CapacityError, OriginDeniedError
from cache_server.core.counted import Found, Leaving, Liar, Purpose
from cache_server.core.ledger import room
from tests.fakes.origin import MemoryOrigin
from tests.fakes.service import LIMIT, SOURCE, VOICE, chunks

SIZE = len(b"{}") + len(chunks(2.5))


@pytest.fixture
def warm(bench):
    bench.put()
    assert bench.warm() is None
    return bench


def test_who_asks_for_a_cold_pipeline_misses_and_who_comes_next_joins(bench, origin):
    bench.put()
    with origin.held():
        bench.service.ensure(VOICE)
        bench.service.ensure(VOICE)
    bench.settle()
    assert bench.service.counters.found == {Found.MISS: 1, Found.JOINED: 1}


def test_who_asks_for_a_warm_pipeline_hits_with_the_lock_or_without(warm):
    warm.service.ensure(VOICE)
    warm.service.warm_now(VOICE)
    counters = warm.service.counters
    assert (counters.found[Found.HIT], counters.hits) == (1, 1)


def test_what_passes_through_is_counted_after_it_was_a_miss(node):
    with node(capacity=2**20) as bench:
        bench.reconciled()
        bench.put()
        refused = bench.service.ensure(VOICE).exception(LIMIT)
        assert isinstance(refused, CapacityError)
        bench.service.pass_through(VOICE, refused)
        assert bench.service.counters.found == {Found.MISS: 1, Found.PASS_THROUGH: 1}


def test_bytes_of_a_fill_are_counted_and_so_is_its_time(warm):
    counters = warm.service.counters
    assert counters.pulled_for == {Purpose.FILL: SIZE}
    assert counters.fill_seconds.cumulative()[-1][1] == 1


def test_a_fill_that_fails_is_counted_by_the_code_of_its_error(bench, origin):
    bench.put()
    bench.resolved()
    origin.deny(OriginDeniedError("no"))
    assert bench.warm() is not None
    assert bench.service.counters.fill_failures == {"origin-denied": 1}


def test_a_file_that_is_not_what_its_origin_promised_is_counted(node):
    liar = MemoryOrigin({"w.dat": chunks(1.5)})
    liar.corrupt("w.dat", 0, times=1)
    with node(origins={SOURCE: liar}) as bench:
        bench.reconciled()
        bench.put()
        assert bench.warm() is None
        assert bench.service.counters.wrong == {Liar.ORIGIN: 1}


def test_a_chunk_that_rots_is_counted_and_so_are_the_bytes_that_mend_it(warm):
    file = warm.open().file("m", "w.dat")
    with open(file.path, "r+b") as opened:
        opened.write(b"rot")
        os.fsync(opened.fileno())
    file.revalidate(0, LIMIT)
    counters = warm.service.counters
    assert counters.wrong == {Liar.DISK: 1}
    assert counters.pulled_for[Purpose.REPAIR] == 8 * 2**20
    assert counters.repaired == 1


def test_evictions_are_counted_by_why_with_the_bytes_that_they_freed(warm):
    freed = warm.service.removal.evict(VOICE, force=False)
    warm.warm()
    warm.service.removal.remove(VOICE, force=False)
    counters = warm.service.counters
    assert counters.evictions == {Leaving.ASKED: 1, Leaving.REMOVED: 1}
    assert counters.evicted == {Leaving.ASKED: freed, Leaving.REMOVED: freed}
    assert freed == room([2, len(chunks(2.5))])


def test_an_eviction_of_nothing_is_none(bench):
    bench.put()
    bench.resolved()
    bench.service.removal.evict(VOICE, force=False)
    bench.service.removal.evict(VOICE, force=False)
    assert bench.service.counters.evictions.total() == 0
