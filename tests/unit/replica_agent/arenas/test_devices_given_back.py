"""What a device and pinned memory come back by: our hands, not a collection that may never run."""

import ctypes
import gc
import traceback
import weakref

import pytest

from cache_protocol.errors import CacheError
from replica_agent.arenas.by_plan import Choice, LaidOutMemory
from replica_agent.arenas.cuda.memory import DeviceMemory
from replica_agent.arenas.cuda.ranks import RankDevices
from replica_agent.arenas.host import HostMemory
from replica_agent.client import ControlClient
from replica_agent.core.devices import Placement
from replica_agent.pull import Pull
from tests.fakes import planned
from tests.fakes.cuda_driver import FakeDriver
from tests.fakes.node import FakeNode

CONTENT = planned.checkpoint(layers=3, size=1024)  # two chunks
PLANS = planned.plans(CONTENT)


@pytest.fixture
def node():
    with FakeNode({"llm": {planned.PATH: CONTENT}}) as node:
        yield node


@pytest.fixture
def driver():
    """Return a driver's fake; from here on nothing collects what only refers to itself."""
    gc.collect()
    gc.disable()
    yield FakeDriver(devices=2)
    gc.enable()


def on_ranks(driver):
    ranks = RankDevices("cuda", 2, lambda: driver)
    choice = Choice(PLANS, "laid out", ranks.layer)
    memory = LaidOutMemory(2**30, lambda _: None, lambda _: {"llm": choice})
    return memory.open_arenas, ranks


def on_one(driver):
    memory = DeviceMemory(Placement("cuda:0"), HostMemory(2**30), 2, lambda: driver)
    return memory.open_arenas, memory


@pytest.mark.parametrize(
    ("place", "call"), [(on_ranks, "copy_in"), (on_ranks, "wait"), (on_one, "record")]
)
def test_a_device_that_fails_in_the_middle_has_nothing_left_when_the_host_takes_over(
    node, driver, place, call
):
    driver.fail(call, after=1)
    open_arenas, memory = place(driver)
    with Pull(ControlClient(node.url), "voice", open_arenas, lanes=2) as pull:
        pull.wait()
        assert memory.notes
        if place is on_ranks:
            memory.let_go()  # the boot does, once the engine is ready
        driver.check_clean()


@pytest.mark.parametrize("place", [on_ranks, on_one])
def test_a_pull_that_fails_has_no_memory_left_when_it_is_closed(node, driver, place):
    node.gate("llm", planned.PATH, 1)
    open_arenas, _ = place(driver)
    with Pull(ControlClient(node.url), "voice", open_arenas, lanes=2, patience=0.01) as pull:
        pull.transfer().arrivals("llm", 0)
        node.stop()
        with pytest.raises(CacheError):
            pull.wait()
    assert (driver.allocated, driver.pins) == ([{}, {}], {})
    assert (driver.streams, driver.events) == ({}, {})


def test_an_error_that_is_kept_says_where_it_was_and_holds_nothing_from_there(node, driver):
    node.gate("llm", planned.PATH, 1)
    seen = []

    def read():
        room = bytearray(1)
        memory = (ctypes.c_ubyte * 1).from_buffer(room)
        seen.append(weakref.ref(memory))
        raise OSError("the connection was closed")

    def receive():
        try:
            read()
        except OSError as error:
            raise CacheError("no progress") from error

    open_arenas, _ = on_one(driver)
    with Pull(ControlClient(node.url), "voice", open_arenas) as pull:
        with pull.transfer().failing():
            receive()
        with pytest.raises(CacheError) as found:
            pull.wait()
    names = [frame.name for frame in traceback.extract_tb(found.value.__cause__.__traceback__)]
    assert names == ["receive", "read"]
    assert seen[0]() is None


@pytest.mark.parametrize("call", ["share", "clear", "pin"])
def test_a_device_that_fails_at_the_start_has_nothing_left(node, driver, call):
    driver.fail(call, after=call != "pin")
    open_arenas, ranks = on_ranks(driver)
    with Pull(ControlClient(node.url), "voice", open_arenas, lanes=2) as pull:
        pull.wait()
        driver.check_clean()
    del ranks
