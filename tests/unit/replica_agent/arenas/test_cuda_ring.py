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
    return ring.send(key, {0: copying(memory, number * SIZE)})


def copying(memory, begin=0):
    place = memory.address + begin
    return lambda slot, stream: memory.device.copy_in(place, slot[:SIZE], stream)


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


def test_a_closed_ring_says_so_and_waits_for_no_event(driver, memory):
    made = Ring((memory.device,), slots=3)
    made.hold()
    seen, unseen = (send(made, number, bytes(SIZE), memory) for number in range(2))
    assert made.finish(seen)
    made.leave()
    assert (made.finish(seen), made.finish(unseen)) == (True, False)


def test_a_slot_is_free_when_all_devices_have_read_it():
    driver = FakeDriver(devices=2)
    devices = [driver.open(n) for n in range(2)]
    memories = [Allocation(device, SIZE) for device in devices]
    made = Ring(devices, slots=1)
    made.hold()
    contents = [bytes([n]) * SIZE for n in range(3)]
    for number, content in enumerate(contents):
        made.slot((0, 0, number), begins=True)[:SIZE] = content
        copy = made.send((0, 0, number), {n: copying(memories[n]) for n in range(2)})
    made.finish(copy)
    for memory in memories:
        back = bytearray(SIZE)
        memory.device.copy_out(memoryview(back), memory.address)
        assert bytes(back) == contents[-1]
    made.leave()
    assert (driver.pinned, driver.streams, driver.events) == (0, {}, {})


def test_a_slot_that_no_device_reads_is_free_at_once(driver, memory):
    made = Ring((memory.device,), slots=1)
    made.hold()
    for number in range(3):
        made.slot((0, 0, number), begins=True)
        assert made.send((0, 0, number), {}).done
    made.leave()
    assert not driver.streams


def test_an_error_of_one_of_several_devices_says_which():
    driver = FakeDriver(devices=2)
    made = Ring([driver.open(n) for n in range(2)], slots=1)
    made.hold()
    made.slot((0, 0, 0), begins=True)
    driver.fail("open_stream")
    with pytest.raises(DriverError, match=r"cuda:1 .*CUDA_ERROR_UNKNOWN"):
        made.send((0, 0, 0), {1: lambda slot, stream: None})
    made.leave()
