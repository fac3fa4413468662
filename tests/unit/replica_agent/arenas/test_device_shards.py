"""Ranks' parameters on their GPUs, over the fake driver; the contract suite has the rest."""

import gc
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import safetensors.torch
import torch

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import CacheError, GenerationGoneError
from cache_protocol.manifest import File, Model
from cache_protocol.plans import ALIGNMENT
from replica_agent.arenas.by_plan import Choice, LaidOutMemory
from replica_agent.arenas.cuda.laid_out import DeviceShards
from replica_agent.arenas.cuda.ranks import RankDevices
from replica_agent.arenas.host import HostArena
from replica_agent.client import ControlClient
from replica_agent.engines.device_shard import device_shard
from replica_agent.handover.client import attach
from replica_agent.handover.messages import Outcome
from replica_agent.handover.server import HandoverServer
from replica_agent.pull import Pull
from tests.fakes import planned
from tests.fakes.cuda_driver import FakeDriver
from tests.fakes.node import FakeNode, opened

CONTENT = planned.checkpoint(layers=3, size=1024)  # two chunks, and pieces that lie in both
PLANS = planned.plans(CONTENT)
MODEL = {"config.json": b"{}", planned.PATH: CONTENT}


@pytest.fixture
def driver():
    made = FakeDriver(devices=3)
    yield made
    made.let_go()
    gc.collect()
    made.check_clean()


@pytest.fixture(scope="module")
def node():
    with FakeNode({"llm": MODEL}) as node:
        yield node


@contextmanager
def pulling(node, driver, word="cuda:0,2", *, lanes=1, plans=PLANS):
    """Yield a pull into arenas on devices, their memory, and who opens them."""
    ranks = RankDevices(word, lanes, lambda: driver)
    choice = Choice(plans, "laid out", ranks.layer)
    memory = LaidOutMemory(2**30, lambda _: None, lambda _: {"llm": choice})
    with Pull(ControlClient(node.url), node.pipeline, memory.open_arenas, lanes=lanes) as pull:
        yield pull, memory, ranks
    memory.forget()


def arena_of(pull):
    return pull.transfer().arenas["llm"]


def are_laid_out(arena, driver, plans=PLANS):
    return all(
        planned.shard_of(arena, plan.key.rank, driver)[: plan.size]
        == planned.laid_out(CONTENT, plan)
        for plan in plans
    )


@pytest.mark.parametrize("lanes", [1, 3])
def test_each_rank_has_what_its_plan_lays_out_on_its_own_device(node, driver, lanes):
    with pulling(node, driver, lanes=lanes) as (pull, _, ranks):
        pull.wait()
        arena = arena_of(pull)
        assert isinstance(arena, DeviceShards)
        assert are_laid_out(arena, driver)
        assert [bool(size) for size in driver.peak] == [True, False, True]
        assert bytes(arena.view(0)) == b"{}"
        assert not ranks.notes


def test_two_ranks_may_be_on_one_device(node, driver):
    with pulling(node, driver, "cuda:1,1") as (pull, _, _):
        pull.wait()
        assert are_laid_out(arena_of(pull), driver)
        assert driver.peak[1] == sum(plan.size for plan in PLANS)


def test_a_device_has_its_ranks_parameters_and_the_host_a_ring(node, driver):
    with pulling(node, driver, lanes=2) as (pull, _, _):
        pull.wait()
        assert driver.peak == [PLANS[0].size, 0, PLANS[1].size]
        assert driver.peak_pinned == 2 * 3 * CHUNK_SIZE
        kept = os.fstat(arena_of(pull).fd).st_blocks * 512
        assert kept < 0.01 * len(CONTENT)


def test_each_byte_comes_once_however_many_ranks_read_it(driver):
    with FakeNode({"llm": MODEL}) as node, pulling(node, driver) as (pull, _, _):
        pull.wait()
        came = sum(seen.span.size for seen in node.seen if seen.path.find("/files/") >= 0)
    assert came == len(CONTENT) + len(MODEL["config.json"])


def test_pinned_memory_goes_as_soon_as_everything_is_confirmed(node, driver):
    with pulling(node, driver) as (pull, _, _):
        pull.wait()
        assert (driver.pinned, driver.streams, driver.events) == (0, {}, {})


def test_where_no_piece_goes_there_are_zeros(node, driver):
    plan = PLANS[0]
    half = plan.__class__(plan.key, plan.files, plan.parameters, plan.pieces[1:], plan.kept)
    with pulling(node, driver, plans=[half]) as (pull, _, _):
        pull.wait()
        assert are_laid_out(arena_of(pull), driver, [half])


def test_runs_that_lie_apart_go_by_one_copy_a_chunk(node, driver):
    with pulling(node, driver) as (pull, _, _):
        pull.wait()
    rows = sum(piece.runs > 1 for plan in PLANS for piece in plan.pieces)
    chunks = -(-len(CONTENT) // CHUNK_SIZE)
    assert rows <= driver.calls.count("copy_in_2d") <= rows + 2 * chunks


def test_an_engine_keeps_what_it_adopted_when_the_arena_has_gone(node, driver):
    with pulling(node, driver) as (pull, _, _):
        pull.wait()
        lent = arena_of(pull).shard(1)
        flat = device_shard(lent.fd, lent.words.size, lent.words.device, lambda: driver)
        os.close(lent.fd)
    expected = torch.frombuffer(bytearray(planned.laid_out(CONTENT, PLANS[1])), dtype=torch.uint8)
    assert torch.equal(flat[: PLANS[1].size], expected)
    assert flat.data_ptr() % ALIGNMENT == 0


def test_an_engine_is_handed_its_shard_and_what_is_kept_beside(node, driver):
    with (
        pulling(node, driver) as (pull, _, _),
        TemporaryDirectory(prefix="warmline-") as directory,  # not pytest's: too long for a socket
        HandoverServer(pull, Path(directory)) as server,
    ):
        with attach(server.path, "llm", rank=1, peers=2, adopts=True) as attached:
            ((name, norm),) = attached.tensors(names={"norm"})
            attached.wait_confirmed()
            flat = memory_on(attached.shard, driver)
            attached.done(Outcome.LOADED, 1.0, adopted=len(flat))
        pull.wait()
    assert bytes(flat[: PLANS[1].size].numpy()) == planned.laid_out(CONTENT, PLANS[1])
    assert (name, norm.tolist()) == ("norm", safetensors.torch.load(CONTENT)["norm"].tolist())


def memory_on(shard, driver):
    descriptor = shard.take()
    try:
        return device_shard(descriptor, shard.size, shard.device, lambda: driver)
    finally:
        os.close(descriptor)


def test_a_shard_says_which_plan_it_follows_and_where_it_is(node, driver):
    with pulling(node, driver) as (pull, _, _):
        lent = arena_of(pull).shard(1)
        os.close(lent.fd)
        assert lent.words == (PLANS[1].fingerprint, PLANS[1].size, driver.open(2).info.uuid)
        assert arena_of(pull).shard(2) is None


def test_a_closed_arena_lends_nothing(node, driver):
    with pulling(node, driver) as (pull, _, _):
        pull.wait()
        arena = arena_of(pull)
    with pytest.raises(GenerationGoneError):
        arena.shard(0)


def test_a_pull_is_closed_while_copies_are_under_way(driver):
    with FakeNode({"llm": MODEL}) as node:
        node.gate("llm", planned.PATH, 1)
        with pulling(node, driver) as (pull, _, _):
            pull.transfer().arrivals("llm", 0)


# A device that cannot be used: the weights come as plain files, and a note says why.


def is_plain(node, driver, why, word="cuda:0,2"):
    with pulling(node, driver, word) as (pull, memory, ranks):
        pull.wait()
        arena = arena_of(pull)
        assert type(arena) is HostArena
        assert bytes(arena.view(1)) == CONTENT
        notes = [*memory.notes, *ranks.notes]
    assert any(why in note and word in note for note in notes), notes


def test_without_a_device_the_weights_are_plain(node):
    is_plain(node, FakeDriver(devices=0), "this host has no device")


def test_with_a_busy_device_the_weights_are_plain(node, driver):
    driver.busy = {2}
    is_plain(node, driver, "CUDA_ERROR_DEVICE_UNAVAILABLE")


def test_with_too_little_memory_on_one_device_the_weights_are_plain(node, driver):
    driver.memory = PLANS[0].size + PLANS[1].size - 1
    is_plain(node, driver, f"need {PLANS[0].size + PLANS[1].size} bytes", "cuda:1,1")
    assert "share" not in driver.calls


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("cuda:0,3", "no cuda:3: the devices here are 0 to 2"),
        ("cuda:0", "names no device for rank 1, only for 1"),
    ],
)
def test_a_device_that_is_not_there_is_named(node, driver, word, why):
    with pulling(node, driver, word) as (pull, memory, _):
        pull.wait()
        assert type(arena_of(pull)) is HostArena
    assert why in memory.notes[-1]


@pytest.mark.parametrize("call", ["count", "open", "room", "share", "clear", "pin", "open_event"])
def test_a_driver_that_fails_at_the_start_leaves_nothing_behind(node, driver, call):
    driver.fail(call, after=call in {"open", "room", "share", "clear"})
    is_plain(node, driver, "CUDA_ERROR_UNKNOWN")


@pytest.mark.parametrize(
    ("call", "after"),
    [("open_stream", 1), ("copy_in", 0), ("copy_in_2d", 4), ("record", 2), ("wait", 3)],
)
def test_a_driver_error_in_the_middle_costs_no_boot(driver, call, after):
    driver.fail(call, after)
    with FakeNode({"llm": MODEL}) as node:
        is_plain(node, driver, "CUDA_ERROR_UNKNOWN")
        assert node.leases == set()


def test_of_several_devices_that_one_failed_is_said(node, driver):
    driver.fail("copy_in_2d", error="CUDA_ERROR_ECC_UNCORRECTABLE")
    with pulling(node, driver) as (pull, _, ranks):
        pull.wait()
        (note,) = ranks.notes
    assert note.startswith("cuda:0,2 failed, its weights come in host memory: cuda:")
    assert "CUDA_ERROR_ECC_UNCORRECTABLE" in note


def test_devices_are_tried_before_anything_is_asked_for(driver):
    ranks = RankDevices("auto", 1, lambda: driver)
    assert ranks.unusable(range(3)) is None
    assert "no cuda:3" in ranks.unusable(range(4))


def test_of_devices_that_cannot_be_used_together_none_stays_open(driver):
    driver.busy = {1}
    ranks = RankDevices("cuda", 1, lambda: driver)
    assert "CUDA_ERROR_DEVICE_UNAVAILABLE" in ranks.unusable(range(2))
    driver.busy, driver.memory = set(), PLANS[0].size - 1
    with pytest.raises(CacheError, match="need"):
        ranks.make("llm", model(), PLANS)
    gc.collect()
    assert driver.open_devices == 0


def test_a_descriptor_survives_neither_an_exec_nor_the_arena(driver):
    arena = RankDevices("cuda:0,0", 1, lambda: driver).make("ends-here", model(), PLANS)
    lent = arena.shard(0)
    assert not os.get_inheritable(lent.fd)
    memory = _names([arena.fd, lent.fd, *arena._descriptors])
    assert len(memory) == 3
    os.close(lent.fd)
    arena.forget()
    assert not memory & _names(os.listdir("/proc/self/fd"))


def _names(descriptors):
    """Return what tells the files from all others that descriptors of this process are of."""
    found = set()
    for each in descriptors:
        with suppress(OSError):  # one of another thread, closed meanwhile
            found.add((os.stat(int(each)).st_dev, os.stat(int(each)).st_ino))
    return found


def model():
    return Model("file:///llm", "1", (File(planned.PATH, len(CONTENT), None, (), "", ""),))


# An open device has a context there, whose memory an engine must not see coming back.


def test_once_all_is_confirmed_the_devices_are_let_go_of_and_the_memory_is_there(node, driver):
    with pulling(node, driver) as (pull, _, _):
        pull.wait()
        gc.collect()
        assert driver.open_devices == 0
        assert are_laid_out(arena_of(pull), driver)


def test_with_an_engine_attached_before_that_devices_stay_open_until_who_asked_lets_go(driver):
    with FakeNode({"llm": MODEL}) as node:
        gate = node.gate("llm", planned.PATH, 1)
        with pulling(node, driver) as (pull, _, ranks):
            os.close(arena_of(pull).shard(0).fd)
            gate.set()
            pull.wait()
        gc.collect()
        assert driver.open_devices == 2
        ranks.let_go()
        assert driver.open_devices == 0


@contextmanager
def two_models(driver):
    """Yield a pull of two models, who has their devices, and what the first one waits for."""
    files = {"early": MODEL, "late": MODEL}
    ranks = RankDevices("cuda:0,2", 1, lambda: driver)
    choices = dict.fromkeys(files, Choice(PLANS, "laid out", ranks.layer))
    memory = LaidOutMemory(2**32, lambda _: None, lambda _: choices)
    with FakeNode(files) as node, opened(node.gate("late", planned.PATH, 1)) as gate:
        with Pull(ControlClient(node.url), node.pipeline, memory.open_arenas, lanes=1) as pull:
            pull.transfer().wait_confirmed("early")
            yield pull, ranks, gate
        memory.forget()


@pytest.mark.parametrize("lent", ["early", "late"])
def test_an_engine_of_either_model_keeps_the_devices_open(driver, lent):
    with two_models(driver) as (pull, ranks, gate):
        os.close(pull.transfer().arenas[lent].shard(0).fd)
        gate.set()
        pull.wait()
        pull.close()
        gc.collect()
        assert driver.open_devices == 2
        ranks.let_go()
        assert driver.open_devices == 0


def test_devices_are_let_go_of_with_the_last_model(driver):
    with two_models(driver) as (pull, _, gate):
        gc.collect()
        assert driver.open_devices == 2
        gate.set()
        pull.wait()
        gc.collect()
        assert driver.open_devices == 0


def test_the_time_that_memory_takes_is_not_the_drivers(driver):
    ranks = RankDevices("cuda", 1, lambda: driver)
    ranks.make("llm", model(), PLANS).forget()
    assert ranks.steps.memory > 0
    ranks.let_go()


def test_errors_of_opening_are_errors_of_ours(driver):
    driver.fail("share", error="CUDA_ERROR_OUT_OF_MEMORY")
    with pytest.raises(CacheError, match=r"cuda cannot be used: .*CUDA_ERROR_OUT_OF_MEMORY"):
        RankDevices("cuda", 1, lambda: driver).make("llm", model(), PLANS)
