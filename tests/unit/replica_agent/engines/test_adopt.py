"""Parameters that look at memory which holds them already."""

import gc
import weakref

import pytest
import torch
from torch import nn

from cache_protocol.plans import ALIGNMENT, Key, Parameter, Plan
from replica_agent.engines.adopt import (
    MisplacedError,
    UnfitError,
    adopt,
    move_out,
    place_in,
    strayed,
)
from replica_agent.engines.deferred import Deferred
from replica_agent.engines.storages import identity

KEY = Key("c" * 32, "torch", "2", "cpu", "", 1, 0, "float32", "")
ROWS = 40  # an odd number of bytes, so that places are rounded up


class Loaded(nn.Parameter):
    def __new__(cls, data, **_):
        return super().__new__(cls, data, requires_grad=False)

    def __init__(self, data, loader):
        self.loader = loader


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(ROWS, 33, _weight=torch.empty(ROWS, 33), _freeze=True)
        self.fused = Loaded(torch.empty(ROWS, 64), loader="a loader")
        self.head = nn.Module()
        self.head.weight = self.embed.weight
        self.scale = nn.Parameter(torch.empty(64, dtype=torch.bfloat16), requires_grad=False)
        self.register_buffer("table", torch.empty(128, dtype=torch.int64))


FORMS = (
    Parameter("embed.weight", "F32", (ROWS, 33)),
    Parameter("fused", "F32", (ROWS, 64)),
    Parameter("scale", "BF16", (64,)),
    Parameter("table", "I64", (128,)),
)


def plan_of(*parameters):
    return Plan(KEY, (), parameters or FORMS, (), ())


def memory_of(plan):
    torch.manual_seed(5)
    return torch.randint(0, 64, (plan.size,), dtype=torch.uint8)


@pytest.fixture
def flat():
    return memory_of(plan_of())


def content(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


def test_every_parameter_looks_at_its_part_of_the_memory(flat):
    net, plan = Net(), plan_of()
    assert adopt(net, plan, flat) == sum(p.size for p in FORMS)
    tensors = dict(net.named_parameters()) | dict(net.named_buffers())
    for form, place in zip(plan.parameters, plan.places, strict=False):
        tensor = tensors[form.name]
        assert tensor.data_ptr() == flat.data_ptr() + place
        assert torch.equal(content(tensor), flat[place : place + form.size])
        assert tuple(tensor.shape) == form.shape
    assert strayed(net, plan, flat) == []


def test_the_objects_stay_with_what_hangs_on_them(flat):
    net = Net()
    before = net.fused
    adopt(net, plan_of(), flat)
    assert net.fused is before
    assert isinstance(net.fused, Loaded)
    assert net.fused.loader == "a loader"


def test_tied_parameters_stay_tied(flat):
    net = Net()
    adopt(net, plan_of(), flat)
    assert net.head.weight is net.embed.weight


def test_parameters_of_one_storage_share_the_memory_afterwards(flat):
    net = Net()
    net.rows = nn.Parameter(net.fused.data[10:20], requires_grad=False)
    net.other = nn.Parameter(net.fused.data.t(), requires_grad=False)
    adopt(net, plan_of(), flat)
    assert torch.equal(net.rows, net.fused[10:20])
    assert torch.equal(net.other, net.fused.t())
    assert net.rows.data_ptr() == net.fused[10:20].data_ptr()


def test_what_the_plan_does_not_name_is_left_alone(flat):
    net = Net()
    net.table.fill_(3)
    where = net.table.data_ptr()
    adopt(net, plan_of(*FORMS[:3]), flat)
    assert (net.table.data_ptr(), net.table.sum()) == (where, 3 * 128)


def test_the_memory_lives_as_long_as_a_parameter_does():
    flat = memory_of(plan_of())
    storage = weakref.ref(flat.untyped_storage())
    net = Net()
    adopt(net, plan_of(), flat)
    del flat
    assert storage() is not None
    assert net.scale.data_ptr()
    del net
    gc.collect()
    assert storage() is None


def test_parameters_without_memory_need_none(flat):
    with Deferred(torch.device("cpu")) as deferred:
        net = Net()
        adopt(net, plan_of(), flat)
        assert deferred.fill() == 0
    assert torch.equal(content(net.scale), flat[plan_of().places[2] :][:128])


def mixed(net, plan, flat):
    """Return how a model looks that must be as it was."""
    tensors = dict(net.named_parameters()) | dict(net.named_buffers())
    return {n: (t.data_ptr(), t.shape, t.dtype, t.stride()) for n, t in tensors.items()}


@pytest.mark.parametrize(
    ("forms", "reason"),
    [
        ([Parameter("nobody", "F32", (3,))], "has no parameter nobody"),
        ([FORMS[0], Parameter("scale", "F32", (64,))], "scale is torch.bfloat16"),
        ([FORMS[0], Parameter("scale", "BF16", (32,))], r"scale is torch.bfloat16 of \(64,\)"),
        ([FORMS[0], Parameter("fused", "F32", (64, ROWS))], "in the plan"),
        ([FORMS[0], Parameter("head.weight", "F32", (ROWS, 33))], "no parameter head.weight"),
    ],
)
def test_a_plan_of_another_model_moves_nothing(forms, reason, flat):
    net, plan = Net(), plan_of(*forms)
    before = mixed(net, plan, flat)
    with pytest.raises(UnfitError, match=reason):
        adopt(net, plan, flat)
    assert mixed(net, plan, flat) == before


def test_memory_that_is_too_short_is_refused(flat):
    with pytest.raises(MisplacedError, match="bytes of memory where the plan lays out"):
        adopt(Net(), plan_of(), flat[:-1])


def test_memory_on_another_device_is_refused(flat):
    with pytest.raises(MisplacedError, match="its memory on meta"):
        adopt(Net(), plan_of(), flat.to("meta"))


def test_a_parameter_that_is_not_contiguous_is_refused(flat):
    net = Net()
    net.fused = nn.Parameter(torch.empty(64, ROWS).t(), requires_grad=False)
    with pytest.raises(UnfitError, match="fused is a part of a larger tensor"):
        adopt(net, plan_of(), flat)


def test_a_parameter_that_is_a_part_of_another_is_refused(flat):
    net = Net()
    net.whole = nn.Parameter(torch.empty(2 * ROWS, 64), requires_grad=False)
    net.fused = nn.Parameter(net.whole.data[:ROWS], requires_grad=False)
    with pytest.raises(UnfitError, match="fused is a part of a larger tensor"):
        adopt(net, plan_of(), flat)


def test_a_slice_that_a_layer_put_aside_keeps_its_parameter_where_it_is(flat):
    net = Net()
    net.aside = [net.fused.data[3]]
    net.aside[0].fill_(7.0)
    with pytest.raises(UnfitError, match="somebody else holds the memory of 1 parameters: fused"):
        adopt(net, plan_of(), flat)
    assert net.fused[3].sum() == 7 * 64
    net.fused.data[3].fill_(8.0)
    assert net.aside[0].sum() == 8 * 64
    assert strayed(net, plan_of(), flat) == [f.name for f in FORMS]


def test_a_model_without_memory_gets_none_by_a_move_that_is_undone(flat):
    with Deferred(torch.device("cpu")) as deferred:
        net = Net()
        net.aside = [net.fused.data[3]]
        with pytest.raises(UnfitError, match="somebody else holds"):
            adopt(net, plan_of(), flat)
        assert [bare(p) for p in (net.embed.weight, net.fused)] == [True, True]
        assert deferred.fill() == ROWS * 33 * 4 + ROWS * 64 * 4
    net.fused.data.fill_(8.0)
    assert net.aside[0].sum() == 8 * 64
    assert net.head.weight is net.embed.weight


def bare(tensor):
    return tensor.untyped_storage().nbytes() == 0


def test_what_went_but_was_not_collected_yet_hinders_nobody(flat):
    net = Net()
    ring = [net.fused.data[3]]
    ring.append(ring)
    del ring
    adopt(net, plan_of(), flat)
    assert strayed(net, plan_of(), flat) == []


def test_a_parameter_that_was_replaced_afterwards_is_noticed(flat):
    net = Net()
    adopt(net, plan_of(), flat)
    net.scale.data = torch.empty(64, dtype=torch.bfloat16)
    assert strayed(net, plan_of(), flat) == ["scale"]


# Where most of what was adopted is of no use any more.


def adopted():
    """Return a model that has adopted memory, and the memory's identity."""
    net, flat = Net(), memory_of(plan_of())
    adopt(net, plan_of(), flat)
    return net, identity(flat), weakref.ref(flat.untyped_storage())


def test_what_is_left_is_copied_and_the_memory_goes():
    net, storage, held = adopted()
    before = {name: p.clone() for name, p in net.named_parameters()}
    net.fused.data = torch.empty(0)
    small = move_out(net, storage)
    assert small == sum(form.size for form in FORMS if form.name != "fused")
    gc.collect()
    assert held() is None
    for name in ("embed.weight", "scale"):
        assert torch.equal(content(net.get_parameter(name)), content(before[name]))
    assert net.head.weight is net.embed.weight


def test_parameters_that_overlap_are_copied_together():
    net, storage, _ = adopted()
    net.rows = nn.Parameter(net.fused.data[10:20], requires_grad=False)
    move_out(net, storage)
    net.fused.data.fill_(5.0)
    assert net.rows.sum() == 5 * 10 * 64


def test_memory_that_somebody_else_looks_at_stays():
    net, storage, held = adopted()
    net.aside = [net.fused.data[3]]
    assert move_out(net, storage) == 0
    assert held() is not None
    net.fused.data[3].fill_(6.0)
    assert net.aside[0].sum() == 6 * 64


def test_of_a_model_that_adopted_nothing_nothing_is_copied():
    assert move_out(Net(), identity(memory_of(plan_of()))) == 0


# Where the memory is there and holds nothing of use.


def test_parameters_without_memory_are_placed_in_what_is_there():
    with Deferred(torch.device("cpu")) as deferred:
        net = Net()
        flat = torch.zeros(3 * 2**14, dtype=torch.uint8)
        placed = place_in(net, flat, deferred)
        deferred.fill()
    assert placed == ROWS * 33 * 4 + ROWS * 64 * 4
    assert net.fused.data_ptr() == flat.data_ptr()
    assert (net.embed.weight.data_ptr() - flat.data_ptr()) % ALIGNMENT == 0
    net.embed.weight.data.fill_(1.0)
    net.fused.data.fill_(2.0)
    assert (net.head.weight.sum(), net.fused.sum()) == (ROWS * 33, 2 * ROWS * 64)


def test_what_finds_no_room_gets_memory_of_its_own():
    with Deferred(torch.device("cpu")) as deferred:
        net = Net()
        flat = torch.zeros(ROWS * 64 * 4, dtype=torch.uint8)
        assert place_in(net, flat, deferred) == ROWS * 64 * 4
        assert deferred.fill() == ROWS * 33 * 4
    net.embed.weight.data.fill_(1.0)
    assert flat.sum() == 0


def test_what_somebody_else_looks_at_is_not_placed():
    with Deferred(torch.device("cpu")) as deferred:
        net = Net()
        net.aside = [net.fused.data[3]]
        place_in(net, torch.zeros(2**15, dtype=torch.uint8), deferred)
        deferred.fill()
    net.fused.data.fill_(4.0)
    assert net.aside[0].sum() == 4 * 64
