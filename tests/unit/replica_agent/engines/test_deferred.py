"""Models that are built without the memory of their parameters."""

import gc
import subprocess
import sys

import pytest
import torch
from torch import nn

from replica_agent.engines.deferred import LARGE, Deferred

CPU = torch.device("cpu")


def held(tensor):
    """Return the bytes that a tensor's storage has now."""
    return tensor.untyped_storage().nbytes()


class Loaded(nn.Parameter):
    """A parameter with something on it, as engines have."""

    def __new__(cls, data, **_):
        return super().__new__(cls, data, requires_grad=False)

    def __init__(self, data, loader):
        self.loader = loader


class Net(nn.Module):
    """Parameters that nobody touches while they are made, and some that somebody does."""

    def __init__(self):
        super().__init__()
        self.blank = nn.Parameter(torch.empty(64, 64), requires_grad=False)
        self.own = Loaded(torch.empty(32, 64), loader="a loader")
        self.tied = self.blank
        self.ones = nn.Parameter(torch.ones(4096), requires_grad=False)
        self.filled = nn.Parameter(torch.empty(64, 64), requires_grad=False)
        self.filled.data[:32].fill_(2.0)
        self.filled.data[32:].fill_(3.0)
        self.register_buffer("table", torch.empty(2048).copy_(torch.arange(2048.0)))
        self.small = nn.Parameter(torch.empty(3), requires_grad=False)


@pytest.fixture
def deferred():
    with Deferred(CPU) as mode:
        yield mode


def test_what_nobody_touched_has_no_memory(deferred):
    net = Net()
    assert held(net.blank) == held(net.own) == 0
    assert net.blank.shape == (64, 64)
    assert deferred.waits(net.blank)


def test_what_building_touches_is_what_it_would_be_without(deferred):
    net = Net()
    with torch.utils._python_dispatch._disable_current_modes():
        plain = Net()
    for name in ("ones", "filled", "table"):
        assert torch.equal(getattr(net, name), getattr(plain, name))
        assert not deferred.waits(getattr(net, name))


def test_small_tensors_are_left_alone(deferred):
    assert held(torch.empty(LARGE // 4 - 1)) == LARGE - 4
    assert held(torch.empty(LARGE // 4)) == 0


def test_filling_gives_everything_its_memory(deferred):
    net = Net()
    assert deferred.fill() == held(net.blank) + held(net.own)
    assert held(net.blank) == 64 * 64 * 4
    net.blank.data.fill_(5.0)
    assert net.tied.sum() == 5 * 64 * 64


def test_what_nobody_holds_any_more_is_not_filled(deferred):
    net = Net()
    del net
    gc.collect()
    assert deferred.fill() == 0


@pytest.mark.parametrize(
    "look",
    [
        lambda t: t[3:7],
        lambda t: t.narrow(1, 8, 8),
        lambda t: t.t(),
        lambda t: t.view(-1)[5],
        lambda t: t.view(torch.uint8),
        lambda t: t.detach().unsqueeze(0),
        lambda t: t.data.chunk(4)[2].transpose(0, 1),
    ],
)
def test_a_view_needs_no_memory(deferred, look):
    blank = torch.empty(64, 64)
    view = look(blank)
    assert held(blank) == 0
    deferred.fill()
    blank.copy_(torch.arange(4096.0).view(64, 64))
    assert torch.equal(view, look(blank))


@pytest.mark.parametrize(
    "touch",
    [
        lambda t: t.fill_(1.0),
        lambda t: t[2].zero_(),
        lambda t: t.sum(),
        lambda t: t.copy_(torch.zeros(64, 64)),
        lambda t: torch.zeros(64, 64).copy_(t),
        lambda t: t.clone(),
        lambda t: torch.stack([t, torch.zeros(64, 64)]),
        lambda t: t[0, 0].item(),
    ],
)
def test_whatever_looks_at_bytes_or_writes_them_finds_memory(deferred, touch):
    blank = torch.empty(64, 64)
    touch(blank)
    assert held(blank) == 64 * 64 * 4
    assert not deferred.waits(blank)


def test_a_write_before_the_filling_stays(deferred):
    blank = torch.empty(64, 64)
    blank.fill_(9.0)
    deferred.fill()
    assert blank.sum() == 9 * 64 * 64


def test_the_form_alone_needs_no_memory(deferred):
    blank = torch.empty(64, 64)
    assert blank.to("meta").shape == blank.shape
    assert held(torch.empty_like(blank)) == 0
    assert held(blank) == 0


def test_other_devices_are_left_alone(deferred):
    assert not deferred.waits(torch.empty(64, 64, device="meta"))


def test_parameters_of_a_kind_of_their_own_keep_what_they_have(deferred):
    net = Net()
    assert isinstance(net.own, Loaded)
    assert net.own.loader == "a loader"
    assert net.own.dtype == torch.float32


def test_tied_parameters_stay_tied(deferred):
    net = Net()
    deferred.fill()
    assert net.tied is net.blank
    assert [name for name, _ in net.named_parameters()].count("tied") == 0


def test_an_operation_that_fails_leaves_the_tensor_as_it_was(deferred):
    blank = torch.empty(64, 64)
    with pytest.raises(IndexError):
        blank[64]
    assert deferred.waits(blank)


def test_outside_of_it_nothing_is_deferred():
    with Deferred(CPU) as deferred:
        before = torch.empty(64, 64)
        deferred.fill()
    assert held(torch.empty(64, 64)) == held(before) == 64 * 64 * 4


_PEAK = """
import resource, torch
from replica_agent.engines.deferred import Deferred
MiB = 2**20
held = torch.ones(128, MiB, dtype=torch.uint8)
with Deferred(torch.device("cpu")) as deferred:
    made = [torch.empty(32, MiB, dtype=torch.uint8) for _ in range(4)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for n, each in enumerate(made):
        each.data = held[32 * n : 32 * n + 32]
    deferred.fill()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, held.sum().item() > 0)
"""


def test_a_process_never_holds_the_model_twice():
    done = subprocess.run(
        [sys.executable, "-c", _PEAK], capture_output=True, text=True, check=True, timeout=50
    )
    grown, whole = done.stdout.split()
    assert int(grown) < 16  # MiB, of 128
    assert whole == "True"
