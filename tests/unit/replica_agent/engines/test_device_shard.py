"""Device memory that an agent made and an engine adopts, in two processes; one of them may die.

On the fake driver, whose memory another process can map for real, and with `-m gpu` on a device.
"""

import gc
import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from replica_agent.arenas.cuda.driver import DriverError
from replica_agent.arenas.cuda.shared import SharedMemory
from replica_agent.engines.device_shard import device_shard
from tests.fakes.cuda_driver import SHARED, FakeDriver
from tests.fakes.shard_process import SIZE, WIDTH, adopt, driver, layer, running, share

SLACK = 64 * 2**20  # bytes of a device that others may take or give meanwhile


@pytest.fixture(params=["fake", pytest.param("cuda", marks=pytest.mark.gpu)])
def kind(request):
    return request.param


def taken(other):
    _, (descriptor,), _, _ = socket.recv_fds(other, 1, 1)
    return descriptor


def computes(module):
    given = torch.ones(WIDTH)
    here = module(given.to(module.weight.device)).cpu()
    return torch.allclose(here, layer()(given), atol=1e-3)


def users(pids):
    """Return those of ``pids`` that map, or hold open, shared memory of the fake driver."""
    return {pid for pid in pids if SHARED in Path(f"/proc/{pid}/maps").read_text() or holds(pid)}


def holds(pid):
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # that of the list itself
            if SHARED in os.readlink(f"/proc/{pid}/fd/{number}"):
                return True
    return False


def test_an_engine_computes_in_the_memory_of_an_agent_and_goes_on_when_that_dies(kind):
    with running("share", kind) as (process, other):
        descriptor = taken(other)
        module = adopt(kind, descriptor)
        assert process.stdout.readline() == b"ready\n"
        assert computes(module)
        process.kill()
        process.wait()
        assert computes(module)
        later = adopt(kind, descriptor)  # what is on its way when the agent dies is not lost
        os.close(descriptor)
        assert computes(later)


def test_memory_goes_with_the_last_who_has_it_also_with_one_that_died(kind):
    device = driver(kind).open(0)
    before = device.room()[0]
    with running("adopt", kind) as (process, other):
        memory = share(kind)
        socket.send_fds(other, [b"\n"], [memory.descriptor])
        assert process.stdout.readline() == b"ready\n"
        both = [os.getpid(), process.pid]
        assert kind == "cuda" or users(both) == set(both)
        memory.close()
        assert kind == "cuda" or users(both) == {process.pid}
        process.kill()
        process.wait()
    assert abs(before - device.room()[0]) <= (SLACK if kind == "cuda" else 0)


def test_a_view_keeps_the_memory_and_nothing_else_does():
    memory = share("fake")
    module = adopt("fake", memory.descriptor)
    memory.close()
    del memory
    bias = module.bias.detach()[:3]
    del module
    gc.collect()
    assert torch.equal(bias, layer().bias.detach()[:3])
    del bias
    gc.collect()
    assert not users([os.getpid()])


def test_shared_memory_begins_as_zeros():
    driver = FakeDriver()
    memory = SharedMemory(driver.open(0), SIZE)
    flat = device_shard(memory.descriptor, SIZE, memory.device.info.uuid, lambda: driver)
    memory.close()
    assert "clear" in driver.calls
    assert not flat.any()


@pytest.mark.parametrize("call", ["share", "clear"])
def test_nothing_is_left_of_memory_that_a_device_did_not_give(call):
    driver = FakeDriver()
    driver.fail(call)
    with pytest.raises(DriverError):
        SharedMemory(driver.open(0), SIZE)
    gc.collect()
    driver.check_clean()
    assert not users([os.getpid()])


def test_a_device_that_this_process_does_not_see_is_an_error():
    with pytest.raises(DriverError, match="no device here is GPU-1"):
        device_shard(0, SIZE, "GPU-1", FakeDriver)
