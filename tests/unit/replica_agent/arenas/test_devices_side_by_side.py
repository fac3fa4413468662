"""Copies to several GPUs run side by side: a slow one costs the others a ring, and nothing else.

The first device is held and the second does its copies when it is told to: no clock is asked.
"""

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from cache_protocol.digests import CHUNK_SIZE, chunk_count, chunk_span
from cache_protocol.manifest import File, Model
from replica_agent.arenas.cuda.devices import SLOTS
from replica_agent.arenas.cuda.ranks import RankDevices
from tests.fakes import planned
from tests.fakes.cuda_driver import FakeDriver

CONTENT = planned.checkpoint(layers=6, size=1024)
CHUNKS = chunk_count(len(CONTENT))
PLANS = planned.plans(CONTENT)
WAIT = 30.0  # seconds that no run comes near


def in_files(plan, begin, end):
    """Return ``plan`` with those pieces alone that lie in ``[begin, end)`` of its file."""
    ends = [(p, p.begin + (p.runs - 1) * p.pitch + p.run) for p in plan.pieces]
    return replace(plan, pieces=tuple(p for p, last in ends if begin <= p.begin and last <= end))


@pytest.fixture
def driver():
    made = FakeDriver(devices=2)
    yield made
    made.let_go()
    gc.collect()
    made.check_clean()


@pytest.fixture
def arena_of(driver):
    arenas = []
    ranks = RankDevices("cuda", 1, lambda: driver)

    def make(plans):
        model = Model("file:///llm", "1", (File(planned.PATH, len(CONTENT), None, (), "", ""),))
        arenas.append(ranks.make("llm", model, plans))
        return arenas[0]

    yield make
    driver.let_go()
    for arena in arenas:
        arena.close()
    ranks.let_go()


def send(arena, *chunks):
    """Do what a lane does with a chunk; yield each that is on its way."""
    for chunk in chunks:
        span = chunk_span(chunk, len(CONTENT))
        arena.room(0, span)[:] = CONTENT[span.begin : span.end]
        arena.accept(0, span)
        yield chunk


def there(arena, rank, plan, driver):
    """Return whether the rank's memory has what ``plan`` says, and zeros elsewhere."""
    return planned.shard_of(arena, rank, driver)[: plan.size] == planned.laid_out(CONTENT, plan)


def test_the_ring_is_smaller_than_the_model():
    assert CHUNKS == SLOTS + 1


def test_a_device_has_all_that_a_ring_holds_while_another_has_nothing(driver, arena_of):
    arena = arena_of(PLANS)
    driver.hold(0)
    assert [*send(arena, *range(SLOTS))] == [*range(SLOTS)]
    driver.complete(1)
    assert there(arena, 0, in_files(PLANS[0], 0, 0), driver)
    assert laid_out_up_to(SLOTS * CHUNK_SIZE, arena, driver)


def laid_out_up_to(end, arena, driver):
    """Return whether rank 1 has everything of the file's first ``end`` bytes, and no more."""
    cut = CONTENT[:end] + bytes(len(CONTENT) - end)
    return planned.shard_of(arena, 1, driver)[: PLANS[1].size] == planned.laid_out(cut, PLANS[1])


def test_a_chunk_for_one_device_is_settled_while_another_is_held(driver, arena_of):
    mine = in_files(PLANS[0], 0, CHUNK_SIZE)
    arena = arena_of([mine, PLANS[1]])
    driver.hold(0)
    assert [*send(arena, 0, 1, 2)] == [0, 1, 2]
    for chunk in (1, 2):
        arena._passage.settle(0, chunk_span(chunk, len(CONTENT)))
    assert not driver.stuck[0].is_set()


def test_a_lane_waits_for_the_slowest_device_when_the_ring_is_full(driver, arena_of):
    arena = arena_of(PLANS)
    driver.hold(0)
    sent = []
    with ThreadPoolExecutor(1) as lane:
        rest = lane.submit(lambda: sent.extend(send(arena, *range(CHUNKS))))
        try:
            assert driver.stuck[0].wait(WAIT)
            driver.complete(1)
            assert laid_out_up_to(SLOTS * CHUNK_SIZE, arena, driver)
            assert driver.peak_pinned == SLOTS * CHUNK_SIZE
        finally:
            driver.let_go()
        rest.result(WAIT)
    arena.confirm(0)
    assert sent == [*range(CHUNKS)]
    assert all(there(arena, plan.key.rank, plan, driver) for plan in PLANS)
