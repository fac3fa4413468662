"""Who goes when a fill needs room, who never does, and what an operator can order."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from cache_protocol.errors import CapacityError, GenerationGoneError, SlotInUseError
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.core.counted import Leaving
from cache_server.core.ledger import room
from cache_server.core.slots import SlotState
from cache_server.service import departures
from cache_server.service.slot import end_work
from tests.fakes.service import LIMIT, SOURCE, VOICE, chunks

SIZE = room([2, len(chunks(2.5))])  # what one pipeline takes
SECOND, THIRD = Key("default", "second"), Key("default", "third")
COLD = timedelta(hours=49).total_seconds()
HOUR = 3600


@pytest.fixture
def two(node):
    """Room for two pipelines; two are there, the older one is VOICE, and both are cold by now."""
    with node(capacity=2 * SIZE) as bench:
        bench.reconciled()
        for key in (VOICE, SECOND):
            bench.put(key=key)
            assert bench.warm(key) is None
            bench.service.touch(key)
            bench.clock.advance(HOUR)
        bench.put(key=THIRD)
        bench.resolved(THIRD)
        bench.clock.advance(COLD)
        yield bench


def warm_keys(bench) -> list[str]:
    return [v["id"] for v in bench.service.figures.views("default") if v["cache"]["warm"]]


def test_the_least_recently_requested_goes_and_its_files_with_it(two):
    gone = two.slot(VOICE).current
    assert two.warm(THIRD) is None
    assert warm_keys(two) == ["second", "third"]
    assert gone.id not in two.on_disk()
    assert two.service.figures.status()["used"] == 2 * SIZE


def test_a_touch_makes_a_slot_the_last_to_go(two):
    two.service.touch(VOICE)
    two.clock.advance(COLD)
    assert two.warm(THIRD) is None
    assert warm_keys(two) == ["third", "voice"]


def test_a_manifest_makes_a_slot_hot(two):
    two.open(VOICE)
    assert two.cache(VOICE)["hot"]
    assert two.warm(THIRD) is None
    assert warm_keys(two) == ["third", "voice"]


def test_a_read_over_the_data_plane_makes_a_slot_hot(two):
    two.service.library.find(two.slot(VOICE).current.id, "m", "w.dat")
    assert two.warm(THIRD) is None
    assert warm_keys(two) == ["third", "voice"]


def test_a_lease_that_is_renewed_keeps_its_slot_hot(two):
    lease = two.grant(two.slot(VOICE).current)
    two.service.renew(lease.id)
    two.service.leases.give_back(lease.id)
    assert two.warm(THIRD) is None
    assert warm_keys(two) == ["third", "voice"]


def test_a_pinned_slot_stays_and_goes_again_once_it_is_not(two):
    two.service.pipelines.pin(VOICE, pinned=True)
    assert two.cache(VOICE)["pinned"]
    assert two.warm(THIRD) is None
    assert warm_keys(two) == ["third", "voice"]
    two.service.pipelines.pin(VOICE, pinned=False)
    two.service.touch(THIRD)
    assert two.warm(SECOND) is None
    assert warm_keys(two) == ["second", "third"]


def test_a_slot_that_a_replica_reads_stays(two):
    two.grant(two.slot(VOICE).current)
    assert two.warm(THIRD) is None
    assert warm_keys(two) == ["third", "voice"]


def test_nobody_goes_when_it_would_not_be_enough_and_the_refusal_says_why(two):
    two.service.pipelines.pin(VOICE, pinned=True)
    two.service.touch(SECOND)
    with pytest.raises(CapacityError, match=r"needed.* 21\.0 MB hot, 21\.0 MB pinned") as refused:
        two.service.warm(THIRD, refresh=False)
    assert refused.value.numbers == {
        "needed": SIZE,
        "free": 0,
        "hot": SIZE,
        "pinned": SIZE,
        "leased": 0,
        "filling": 0,
    }
    assert warm_keys(two) == ["second", "voice"]


@pytest.mark.parametrize("jump", [2, -2, 2 * 365 * 24, -2 * 365 * 24])
def test_a_wall_clock_that_jumps_evicts_nothing_hot(two, jump):
    for key in (VOICE, SECOND):
        two.service.touch(key)
    two.clock.wall_ahead = timedelta(hours=jump)
    two.service._house.flush()
    with pytest.raises(CapacityError):
        two.service.warm(THIRD, refresh=False)
    assert two.cache(VOICE)["hot"]


def test_after_a_jump_and_a_restart_hot_slots_are_still_hot(node):
    with node() as bench:
        bench.put()
        bench.service.touch(VOICE)
        bench.clock.wall_ahead = timedelta(days=730)
        clock = bench.clock
    with node(clock=clock) as bench:
        assert bench.cache()["hot"]
        bench.clock.advance(COLD)
        assert not bench.cache()["hot"]


def test_the_order_of_requests_outlives_a_restart(node):
    with node(capacity=2 * SIZE) as bench:
        for key in (VOICE, SECOND):
            bench.put(key=key)
            bench.warm(key)
        for key in (SECOND, VOICE):
            bench.clock.advance(HOUR)
            bench.service.touch(key)
        clock = bench.clock
    clock.advance(COLD)
    with node(capacity=2 * SIZE, clock=clock) as bench:
        bench.reconciled()
        bench.put(key=THIRD)
        assert bench.warm(THIRD) is None
        assert warm_keys(bench) == ["third", "voice"]


def test_a_slot_asked_for_between_plan_and_eviction_stays(two, monkeypatch):
    plan = two.service._room._victims

    def plan_then_touch(tenant, size):
        victims = plan(tenant, size)
        if victims and victims[0].key == VOICE:
            two.service.touch(VOICE)
        return victims

    monkeypatch.setattr(two.service._room, "_victims", plan_then_touch)
    assert two.warm(THIRD) is None
    assert warm_keys(two) == ["third", "voice"]


def test_what_a_failed_fill_left_counts_and_can_go(node, origin):
    with node(capacity=2 * SIZE) as bench:
        bench.reconciled()
        bench.put()
        with origin.held(), ThreadPoolExecutor(1) as pool:
            bench.open()
            stopping = pool.submit(end_work, bench.slot(), bench.service._lock)
            assert bench.slot().work.stopped.wait(LIMIT)
            origin.gate.set()
            stopping.result(LIMIT)
        bench.clock.advance(COLD)
        assert bench.service.figures.status()["used"] == SIZE
        for key in (SECOND, THIRD):
            bench.put(key=key)
            bench.service.touch(key)
            assert bench.warm(key) is None
        assert bench.service.figures.status()["used"] == 2 * SIZE
        assert warm_keys(bench) == ["second", "third"]


def test_a_burst_of_fills_never_outruns_the_capacity(node, origin):
    keys = [Key("default", f"p{n}") for n in range(8)]
    with node(capacity=3 * SIZE) as bench:
        bench.reconciled()
        for key in keys:
            bench.put(key=key)
        with origin.held():
            opened = [bench.service.ensure(key) for key in keys]
            refused = [f.exception(LIMIT) for f in opened]
            assert bench.service.figures.status()["used"] == 3 * SIZE
        assert sum(isinstance(e, CapacityError) for e in refused) == 5
        for key in keys:
            bench.settle(key)
        assert bench.service.figures.status()["used"] == 3 * SIZE


def test_room_counts_until_the_files_are_gone(two, monkeypatch):
    begun, gate, delete = threading.Event(), threading.Event(), departures.delete

    def slow(path):
        begun.set()
        assert gate.wait(LIMIT)
        delete(path)

    monkeypatch.setattr(departures, "delete", slow)
    with ThreadPoolExecutor(1) as pool:
        evicting = pool.submit(two.service.removal.evict, VOICE, force=False)
        assert begun.wait(LIMIT)
        assert two.cache(VOICE)["state"] == "evicting"
        assert two.service.figures.status()["used"] == 2 * SIZE
        joined = two.service.ensure(VOICE)  # a request meanwhile is no error, it waits
        gate.set()
        assert evicting.result(LIMIT) == SIZE
    assert joined.result(LIMIT)
    assert two.settle(VOICE) is None
    assert two.slot(VOICE).state is SlotState.WARM


# What an operator orders.


def test_an_evicted_pipeline_stays_registered_and_comes_back_when_asked_for(bench, origin):
    bench.put()
    bench.warm()
    assert bench.service.removal.evict(VOICE, force=False) == SIZE
    assert (bench.on_disk(), bench.service.figures.status()["used"]) == ([], 0)
    cache = bench.cache()
    assert (cache["state"], cache["warm"], cache["filled"]) == ("cold", False, 0)
    again = bench.open()
    assert bench.settle() is None
    assert bench.read("w.dat", again) == origin.files["w.dat"]


def test_evicting_what_is_not_there_frees_nothing(bench):
    bench.put()
    assert bench.service.removal.evict(VOICE, force=False) == 0
    assert bench.warm() is None


def test_evicting_ends_a_fill_that_runs(bench, origin):
    bench.put()
    with origin.held(), ThreadPoolExecutor(1) as pool:
        bench.open()
        work = bench.slot().work
        evicting = pool.submit(bench.service.removal.evict, VOICE, force=False)
        assert work.stopped.wait(LIMIT)
        origin.gate.set()
        assert evicting.result(LIMIT) == SIZE
    assert bench.on_disk() == []


def test_a_slot_in_use_is_evicted_by_force_alone_and_open_readers_finish(bench, origin):
    bench.put()
    bench.warm()
    generation = bench.open()
    lease = bench.grant(generation)
    file = generation.file("m", "w.dat")
    with pytest.raises(SlotInUseError, match="1 replica reads"):
        bench.service.removal.evict(VOICE, force=False)
    with open(file.open(), "rb") as reader:
        assert bench.service.removal.evict(VOICE, force=True) == SIZE
        assert reader.read() == origin.files["w.dat"]
    with pytest.raises(GenerationGoneError):
        bench.service.renew(lease.id)


def test_a_pin_outlives_a_restart(node):
    with node() as bench:
        bench.put()
        bench.service.pipelines.pin(VOICE, pinned=True)
    with node() as bench:
        assert bench.cache()["pinned"]


def test_a_plan_shows_who_would_go_in_order_and_does_nothing(two):
    plan = two.service.removal.plan(SIZE + 1)
    assert [v["id"] for v in plan["victims"]] == ["voice", "second"]
    assert (plan["freed"], plan["shortfall"], plan["free"]) == (2 * SIZE, 0, 0)
    assert warm_keys(two) == ["second", "voice"]


def test_a_refresh_with_room_for_one_evicts_others_before_it_is_refused(two, origin):
    origin.files["w.dat"] = chunks(2.5, seed=3)
    before = two.open(VOICE).id
    assert two.warm(VOICE, refresh=True) is None
    assert two.open(VOICE).id != before
    assert warm_keys(two) == ["voice"]


# Before anybody asks.


def test_a_pipeline_can_be_warmed_at_its_registration(bench):
    bench.service.pipelines.put(VOICE, (ModelSpec("m", SOURCE),), pinned=None, warm=True)
    assert bench.settle() is None
    assert bench.cache()["warm"]
    assert not bench.cache()["hot"]


def test_after_a_restart_what_was_hot_and_is_not_whole_is_filled(node):
    with node() as bench:
        bench.put()
        bench.put(key=SECOND)
        bench.resolved(VOICE)
        bench.resolved(SECOND)
        bench.service.touch(VOICE)
    with node() as bench:
        bench.reconciled()
        assert _eventually_settled(bench, VOICE) is None
        assert warm_keys(bench) == ["voice"]


def _eventually_settled(bench, key):
    bench.service._house.reconciling.join(LIMIT)  # the reconcile, which begins the fill
    return bench.settle(key)


def test_a_slot_that_is_taken_back_before_its_files_went_is_warm(two):
    room = two.service._room
    with room.alone:
        with two.service._lock:
            slot = two.slot(VOICE)
            going = room.mark([slot])
        generation = two.open(VOICE)  # a replica asks while the files of others are deleted
        assert two.settle(VOICE) is None
        assert room.delete([slot], going, Leaving.ASKED) == 0
    assert generation is going[0]
    assert (slot.state, two.cache(VOICE)["warm"]) == (SlotState.WARM, True)
