"""Tensors of a hand-over, pinned where they are; over the fake driver, and the real one's rules."""

import gc
import mmap
import os
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from cache_protocol.errors import MalformedError
from cache_protocol.units import show_size
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.driver import DriverError
from replica_agent.arenas.host import sealed_memory
from replica_agent.engines import planned, registration
from replica_agent.engines.registration import LEAST, Pins, not_pinned, registering
from replica_agent.engines.trace import Traced
from replica_agent.handover.client import Headed
from tests.fakes.cuda_driver import FakeDriver
from tests.fakes.traced import Checkpoint, Net

CUDA = torch.device("cuda", 0)
NUMBERS = LEAST // 4
SIZES = (100, 3 * NUMBERS, NUMBERS + 1, NUMBERS - 1, 2 * NUMBERS + 7)  # none ends at a page


@pytest.fixture
def driver():
    made = FakeDriver()
    yield made
    gc.collect()
    made.check_clean()


@pytest.fixture
def handed():
    """Yield a descriptor of memory with tensors side by side, its mapping, and those tensors."""
    whole = torch.arange(float(sum(SIZES)))
    size = -(-whole.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    fd = sealed_memory("registration-test", size)
    os.pwrite(fd, whole.numpy().tobytes(), 0)
    memory = memoryview(mmap.mmap(fd, size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE))
    flat = torch.frombuffer(memory, dtype=torch.float32)[: len(whole)]
    yield fd, memory, [(str(n), t) for n, t in enumerate(flat.split(SIZES))]
    os.close(fd)


def is_pinned(driver, tensor):
    begin, end = tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes
    return any(at <= begin and end <= at + size for at, size in driver.registered.items())


def test_each_large_tensor_is_over_one_pinned_piece_and_the_same(driver, handed):
    fd, memory, weights = handed
    pins = Pins(driver.open(0), fd, memory)
    given = [pins.pinned(tensor) for _, tensor in weights]
    assert [is_pinned(driver, t) for t in given] == [t.nbytes >= LEAST for t in given]
    assert all(torch.equal(a, b) for a, (_, b) in zip(given, weights, strict=True))
    pins.close()


def test_all_weights_come_through_in_order_and_nothing_is_pinned_afterwards(driver, handed):
    fd, memory, weights = handed
    with registering(fd, memory, CUDA, lambda: driver) as through:
        given = list(through(iter(weights)))
    assert [name for name, _ in given] == [name for name, _ in weights]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(given, weights, strict=True))
    assert not driver.registered


def test_a_tensor_that_somebody_kept_can_still_be_read(driver, handed):
    fd, memory, weights = handed
    pins = Pins(driver.open(0), fd, memory)
    kept = pins.pinned(weights[1][1])[-3:]
    pins.close()
    gc.collect()
    assert torch.equal(kept, weights[1][1][-3:])


def test_pinning_copies_no_page(driver, handed):
    fd, memory, weights = handed
    pins = Pins(driver.open(0), fd, memory)
    given = pins.pinned(weights[1][1])
    os.pwrite(fd, b"\0" * 4, weights[1][1].storage_offset() * 4)  # as the agent writes
    assert given[0] == 0
    pins.close()


def test_mappings_go_with_their_tensors(driver, handed):
    fd, memory, weights = handed
    before = mappings()
    pins = Pins(driver.open(0), fd, memory)
    given = pins.pinned(weights[1][1])
    assert mappings() == before + 1
    pins.close()
    del given
    gc.collect()
    assert mappings() == before


def mappings():
    with open("/proc/self/maps") as lines:
        return sum("registration-test" in line for line in lines)


@pytest.mark.parametrize("call", ["register", "open"])
def test_a_driver_that_refuses_is_told_of_once_and_the_load_goes_on(driver, handed, caplog, call):
    fd, memory, weights = handed
    driver.fail(call, error="CUDA_ERROR_NOT_SUPPORTED")
    with registering(fd, memory, CUDA, lambda: driver) as through:
        given = list(through(iter(weights)))
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(given, weights, strict=True))
    (message,) = caplog.messages
    assert "not pinned: " in message
    caplog.clear()  # it keeps the error, which keeps the device


def test_a_host_without_a_driver_is_no_worse_off(handed, caplog):
    def load():
        raise DriverError("no driver can be loaded")

    fd, memory, weights = handed
    with registering(fd, memory, CUDA, load) as through:
        assert [name for name, _ in through(iter(weights))] == [name for name, _ in weights]
    assert "no driver can be loaded" in caplog.text


def test_for_a_load_into_host_memory_nothing_is_pinned(driver, handed):
    fd, memory, weights = handed
    with registering(fd, memory, torch.device("cpu"), lambda: driver) as through:
        assert list(through(weights)) is not None
    assert "open" not in driver.calls


def test_a_file_on_a_disk_is_not_pinned(driver, handed, tmp_path):
    _, memory, weights = handed
    with (tmp_path / "arena").open("w+b") as file:
        file.truncate(len(memory))
        with registering(file.fileno(), memory, CUDA, lambda: driver) as through:
            assert len(list(through(iter(weights)))) == len(weights)
    assert "open" not in driver.calls


def test_tensors_elsewhere_are_left_alone(driver, handed):
    fd, memory, _ = handed
    pins = Pins(driver.open(0), fd, memory)
    elsewhere = torch.zeros(NUMBERS)
    assert pins.pinned(elsewhere) is elsewhere
    pins.close()


@pytest.mark.gpu
def test_a_device_copies_out_of_pinned_pieces(handed):
    fd, memory, weights = handed
    pins = Pins(load_driver().open(0), fd, memory)
    for _, tensor in weights:
        given = pins.pinned(tensor)
        assert given.is_pinned() == (tensor.nbytes >= LEAST)
        assert torch.equal(given.to(CUDA).cpu(), tensor)
    pins.close()


def told_by(descriptor, memory, device, load, weights):
    """Return what is told of a load of ``weights``."""
    told = []
    with registering(descriptor, memory, device, load, told.append) as through:
        list(through(iter(weights)))
    return told


def test_how_much_was_pinned_is_told(driver, handed, monkeypatch):
    fd, memory, weights = handed
    monkeypatch.setattr(registration, "Ahead", InTime)
    (words,) = told_by(fd, memory, CUDA, lambda: driver, weights)
    large = sum(tensor.nbytes for _, tensor in weights if tensor.nbytes >= LEAST)
    assert words == f"{show_size(large)} were copied from pinned memory"


class InTime:
    """Instead of what looks ahead: every tensor is looked at before it is asked for."""

    def __init__(self, items, improve, **_):
        self._items = map(improve, items)

    def running(self):
        return nullcontext(self._items)


def test_why_nothing_was_pinned_is_told(driver, handed, tmp_path, caplog):
    fd, memory, weights = handed
    small = weights[:1]
    assert told_by(fd, memory, torch.device("cpu"), lambda: driver, weights) == []
    (words,) = told_by(fd, memory, CUDA, lambda: driver, small)
    assert words.endswith("no tensor was large enough, or there in time")
    with (tmp_path / "arena").open("w+b") as file:
        (words,) = told_by(file.fileno(), memory, CUDA, lambda: driver, weights)
    assert words == "copied from memory that is not pinned: it is files on a disk"
    driver.fail("open", error="CUDA_ERROR_NOT_SUPPORTED")
    (words,) = told_by(fd, memory, CUDA, lambda: driver, weights)
    assert "CUDA_ERROR_NOT_SUPPORTED" in words
    caplog.clear()  # it keeps the error, which keeps the device


@pytest.mark.parametrize(
    ("traced", "copied"),
    [
        (Traced(None, "", reads_only=True), None),
        (Traced(None, "", reads_only=False), "this load writes to the tensors that it is given"),
        (
            Traced(None, "a vLLM with nnodes 2 has no plan", reads_only=None),
            "nobody knows whether this load only reads: a vLLM with nnodes 2 has no plan",
        ),
        (None, "files' headers came too late for a trace"),
    ],
)
def test_only_what_a_load_does_not_write_to_is_pinned(monkeypatch, handed, traced, copied):
    asked = []
    monkeypatch.setattr(planned, "registering", lambda *given, **_: asked.append(given))
    model = SimpleNamespace(parameters=lambda: iter([SimpleNamespace(device=CUDA)]))
    planning = planned.Planning(planned.Subject(model, None, None))
    planning._traced = traced
    fd, memory, _ = handed
    planning.pinning(SimpleNamespace(memory=(fd, memory)))
    assert asked == ([] if copied else [(fd, memory, CUDA)])
    assert planning.copied == (copied and not_pinned(copied))


def test_a_load_without_a_plan_is_traced_all_the_same_for_what_a_device_copies(monkeypatch):
    def no_plan(_):
        raise MalformedError("a vLLM with data_parallel_size 2 has no plan")

    def take(net, name, tensor):
        getattr(net, name).data.copy_(tensor)

    net = Net(take, a=(8, 16))
    headed = Headed(*Checkpoint(a=torch.rand(8, 16)).file)
    monkeypatch.setattr(planned.Planning, "_device", CUDA)
    planning = planned.Planning(planned.Subject(net, no_plan, net.load_weights))
    traced = planning.trace(SimpleNamespace(checkpoint="c"), [headed])
    assert (traced.plan, traced.reads_only) == (None, True)
    assert planning.reason == "a vLLM with data_parallel_size 2 has no plan"


def test_a_load_that_writes_is_known_to_even_if_it_has_no_plan():
    def take(net, name, tensor):
        net.a.data.copy_(tensor.mul_(2))
        net.add_module("more", torch.nn.Linear(2, 2))

    traced = Checkpoint(a=torch.rand(8, 16)).trace(Net(take, a=(8, 16)))
    assert (traced.plan, traced.reads_only) == (None, False)
