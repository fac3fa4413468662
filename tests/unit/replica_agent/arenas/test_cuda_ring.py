"""Pinned slots and the copies out of them, over the fake driver."""

import gc
import os
import threading

import pytest

from cache_protocol.digests import CHUNK_SIZE
from replica_agent.arenas.cuda.allocation import Allocation
from replica_agent.arenas.cuda.driver import DriverError
from replica_agent.arenas.cuda.ring import Ring
from tests.fakes.cuda_driver import FREED, FakeDriver

SIZE = 1000


@pytest.fixture
def driver():
    return FakeDriver()


@pytest.fixture
def memory(driver):
    return Allocation(driver.open(0), 50 * SIZE)


@pytest.fixture
def ring(driver, memory):  # in this order: the ring ends before what it copies to
    made = Ring((memory.device,), slots=3)
    made.hold()
    yield made
    driver.let_go()
    made.leave()
    assert (driver.pinned, driver.streams, driver.events) == (0, {}, {})


def send(ring, number, content, memory):
    key = (0, 0, number)
    ring.slot(key, begins=True)[:SIZE] = content
    place = memory.address + number * SIZE
    return ring.send(key, {0: lambda slot, to: memory.device.copy_in(place, slot[:SIZE], to)})


def test_a_lane_waits_for_the_oldest_copy_when_no_slot_is_free(driver, ring, memory):
    driver.hold()
    for number in range(3):
        send(ring, number, bytes(SIZE), memory)
    took = threading.Event()
    lane = threading.Thread(target=lambda: (ring.slot((0, 0, 3), begins=True), took.set()))
    lane.start()
    assert not took.wait(0.05)
    driver.let_go()
    lane.join()
    assert took.is_set()


def test_pinned_memory_is_what_was_asked_for_however_much_goes_through_it(driver, ring, memory):
    content = [os.urandom(SIZE) for _ in range(50)]
    copies = [send(ring, number, data, memory) for number, data in enumerate(content)]
    for copy in copies:
        ring.finish(copy)
    back = bytearray(50 * SIZE)
    memory.device.copy_out(memoryview(back), memory.address)
    assert bytes(back) == b"".join(content)
    assert driver.peak_pinned == 3 * CHUNK_SIZE


def test_each_thread_has_a_stream_of_its_own(driver, ring, memory):
    for number in range(3):
        lane = threading.Thread(target=send, args=(ring, number, bytes(SIZE), memory))
        lane.start()
        lane.join()
    assert len(driver.streams) == 3


def test_more_threads_than_slots_is_an_error_and_no_wait(ring):
    def take():
        ring.slot((0, 0, 1), begins=True)
        ring.slot((0, 0, 2), begins=True)

    lane = threading.Thread(target=take)
    lane.start()
    lane.join()
    ring.slot((0, 0, 3), begins=True)
    with pytest.raises(DriverError, match="all 3 slots"):
        ring.slot((0, 0, 4), begins=True)


def test_a_thread_that_is_stuck_in_its_slot_keeps_pinned_memory_from_going(driver):
    ring = Ring((driver.open(0),), slots=2)
    ring.hold()
    view = ring.slot((0, 0, 0), begins=True)[:10]
    ring.leave()
    del ring
    gc.collect()
    assert driver.pinned
    view[:] = bytes(10)  # the read that ends late
    del view
    gc.collect()
    assert not driver.pinned


def test_memory_that_was_freed_shows_it_to_whoever_still_reads(driver):
    device = driver.open(0)
    address = device.allocate(SIZE)
    memory = driver.allocated[0][address]
    device.free(address)
    assert set(memory[:]) == {FREED}
