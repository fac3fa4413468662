"""A model's own code, run over tensors without content: which bytes go where."""

import pytest
import torch
from torch import nn

from cache_protocol import plans
from cache_protocol.plans import dump_plan
from replica_agent.engines.trace import trace
from tests.fakes.traced import KEY, Checkpoint, Net


def names(plan):
    return {parameter.name for parameter in plan.parameters}


def plainly(net, name, tensor):
    getattr(net, name).data.copy_(tensor)


def test_a_copy_of_all_is_one_run():
    checkpoint = Checkpoint(a=torch.rand(8, 16))
    plan = checkpoint.trace(Net(plainly, a=(8, 16))).plan
    [piece] = plan.pieces
    assert (piece.begin, piece.place, piece.run, piece.runs) == (checkpoint.file.header, 0, 512, 1)


def test_the_header_alone_is_kept_where_everything_is_laid_out():
    checkpoint = Checkpoint(a=torch.rand(8, 16))
    plan = checkpoint.trace(Net(plainly, a=(8, 16))).plan
    assert plan.kept == ((0, 0, checkpoint.file.header),)


def test_a_fused_parameter_is_laid_out_from_its_parts():
    def take(net, name, tensor):
        net.qkv.data.narrow(0, "qkv".index(name) * 8, 8).copy_(tensor.chunk(2)[1])

    checkpoint = Checkpoint(q=torch.rand(16, 16), k=torch.rand(16, 16), v=torch.rand(16, 16))
    plan = checkpoint.trace(Net(take, qkv=(24, 16))).plan
    assert sorted(piece.place for piece in plan.pieces) == [0, 512, 1024]
    assert plan.read == checkpoint.file.header + 3 * 512


def test_columns_of_a_tensor_are_runs():
    def take(net, name, tensor):
        net.a.data.copy_(tensor[:, 16:])

    [piece] = Checkpoint(a=torch.rand(8, 32)).trace(Net(take, a=(8, 16))).plan.pieces
    assert (piece.run, piece.runs, piece.pitch, piece.stride) == (64, 8, 128, 64)


def test_a_tensor_that_nobody_takes_is_not_read():
    def take(net, name, tensor):
        if name == "a":
            net.a.data.copy_(tensor)

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, a=(8, 16))).plan
    assert plan.read == checkpoint.file.header + 512


def test_padding_that_the_load_zeroes_is_zero():
    def take(net, name, tensor):
        net.a.data[:8].copy_(tensor)
        net.a.data[8:].fill_(0)

    assert names(Checkpoint(a=torch.rand(8, 16)).trace(Net(take, a=(10, 16))).plan) == {"a"}


def test_a_parameter_that_is_zeroed_first_is_laid_out():
    def take(net, name, tensor):
        net.a[:] = 0
        net.a.data[:8].copy_(tensor)

    assert names(Checkpoint(a=torch.rand(8, 16)).trace(Net(take, a=(10, 16))).plan) == {"a"}


def test_a_parameter_of_which_a_part_is_left_is_the_models_own():
    def take(net, name, tensor):
        getattr(net, name).data[:8].copy_(tensor)

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, a=(10, 16), b=(8, 16))).plan
    assert names(plan) == {"b"}
    assert checkpoint.kept(plan) == {"a"}


def test_a_tensor_of_another_type_is_read_whole():
    checkpoint = Checkpoint(a=torch.rand(8, 16).half(), b=torch.rand(8, 16))
    plan = checkpoint.trace(Net(plainly, a=(8, 16), b=(8, 16))).plan
    assert names(plan) == {"b"}
    assert checkpoint.kept(plan) == {"a"}


def test_a_tensor_that_is_computed_with_is_read_whole():
    def take(net, name, tensor):
        getattr(net, name).data.copy_(tensor + 1 if name == "a" else tensor)

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, a=(8, 16), b=(8, 16))).plan
    assert checkpoint.kept(plan) == {"a"}


def test_a_tensor_that_goes_through_memory_of_the_models_is_read_whole():
    def take(net, name, tensor):
        if name == "a":
            room = torch.empty(8, 16)
            room.copy_(tensor)
            tensor = room * 2
        getattr(net, name).data.copy_(tensor)

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, a=(8, 16), b=(8, 16))).plan
    assert checkpoint.kept(plan) == {"a"}


def test_what_a_tensor_that_is_read_whole_shares_a_parameter_with_is_read_whole():
    def take(net, name, tensor):
        if name in "ab":
            net.ab.data.narrow(0, "ab".index(name) * 8, 8).copy_(
                tensor * 2 if name == "a" else tensor
            )
        else:
            net.c.data.copy_(tensor)

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16), c=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, ab=(16, 16), c=(8, 16))).plan
    assert names(plan) == {"c"}
    assert checkpoint.kept(plan) == {"a", "b"}


def test_a_matrix_that_is_turned_is_read_whole():
    def take(net, name, tensor):
        getattr(net, name).data.copy_(tensor.t() if name == "a" else tensor)

    checkpoint = Checkpoint(a=torch.rand(16, 16), b=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, a=(16, 16), b=(8, 16))).plan
    assert checkpoint.kept(plan) == {"a"}


def test_two_tensors_for_one_parameter_are_read_whole():
    def take(net, name, tensor):
        getattr(net, "a" if name in "ab" else "c").data.copy_(tensor)

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16), c=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, a=(8, 16), c=(8, 16))).plan
    assert checkpoint.kept(plan) == {"a", "b"}


def test_a_parameter_that_is_copied_from_another_is_the_models_own():
    def take(net, name, tensor):
        getattr(net, name).data.copy_(tensor)
        if name == "a":
            net.head.data.copy_(net.a.data)

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, a=(8, 16), b=(8, 16), head=(8, 16))).plan
    assert names(plan) == {"b"}


def test_a_tensor_that_the_model_holds_on_to_is_given_to_it_again():
    def take(net, name, tensor):
        if name == "a":
            net.remembered = tensor
        else:
            net.b.data.copy_(tensor)

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16))
    net = Net(take, b=(8, 16))
    plan = checkpoint.trace(net).plan
    assert checkpoint.kept(plan) == {"a"}
    assert not net.remembered.is_meta


def test_a_buffer_is_laid_out_too():
    net = Net(plainly)
    net.register_buffer("table", torch.zeros(8, 16))
    traced = trace(net, [Checkpoint(table=torch.rand(8, 16)).file], net.load_weights, KEY)
    assert names(traced.plan) == {"table"}


def test_a_buffer_that_the_load_looks_at_does_not_stop_it():
    def take(net, name, tensor):
        if net.wanted[int(name[1])].item():
            net.a.data.copy_(tensor)

    net = Net(take, a=(8, 16))
    net.register_buffer("wanted", torch.tensor([0, 1]))
    plan = Checkpoint(a0=torch.rand(8, 16), a1=torch.rand(8, 16)).trace(net).plan
    assert names(plan) == {"a"}


def test_a_parameter_that_the_load_looks_at_first_is_the_models_own():
    def take(net, name, tensor):
        if getattr(net, name).data[0, 0].item() != 9.0 or name == "b":
            getattr(net, name).data.copy_(tensor)

    checkpoint = Checkpoint(b=torch.rand(8, 16), c=torch.rand(8, 16))
    assert (
        checkpoint.trace(Net(take, b=(8, 16), c=(8, 16))).reason == "no parameter can be laid out"
    )


def test_tied_parameters_are_one():
    net = Net(plainly, a=(8, 16))
    net.head = net.a
    assert names(Checkpoint(a=torch.rand(8, 16)).trace(net).plan) == {"a"}


def test_a_parameter_that_is_part_of_a_larger_tensor_is_the_models_own():
    net = Net(plainly, a=(8, 16), b=(8, 16))
    net.b.data = torch.full((16, 16), 9.0)[:8]
    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16))
    traced = trace(net, [checkpoint.file], net.load_weights, KEY)
    assert names(traced.plan) == {"a", "b"}
    net.b.data = torch.full((16, 16), 9.0)[8:]
    traced = trace(net, [checkpoint.file], net.load_weights, KEY)
    assert names(traced.plan) == {"a"}


def test_a_parameter_on_another_kind_of_device_is_the_models_own():
    net, checkpoint = Net(plainly, a=(8, 16)), Checkpoint(a=torch.rand(8, 16))
    elsewhere = KEY.__class__("c" * 32, "torch", "2", "cuda", "", 1, 0, "float32", "")
    assert trace(net, [checkpoint.file], net.load_weights, elsewhere).plan is None


def test_parameters_without_memory_are_traced_alike():
    checkpoint = Checkpoint(a=torch.rand(8, 16))
    usual = checkpoint.trace(Net(plainly, a=(8, 16))).plan
    net = Net(plainly, a=(8, 16))
    net.a.untyped_storage().resize_(0)
    assert trace(net, [checkpoint.file], net.load_weights, KEY).plan == usual
    assert net.a.untyped_storage().nbytes() == 0


def test_a_tensor_that_goes_to_the_device_first_is_followed():
    def take(net, name, tensor):
        net.a.data.copy_(tensor.to(net.a.device)[:8])

    plan = Checkpoint(a=torch.rand(16, 16)).trace(Net(take, a=(8, 16))).plan
    assert [piece.run for piece in plan.pieces] == [512]


def test_a_load_that_only_reads_is_told_apart():
    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16))
    assert checkpoint.trace(Net(plainly, a=(8, 16), b=(8, 16))).reads_only

    def take(net, name, tensor):
        plainly(net, name, tensor.mul_(2) if name == "a" else tensor)

    traced = checkpoint.trace(Net(take, a=(8, 16), b=(8, 16)))
    assert not traced.reads_only
    assert checkpoint.kept(traced.plan) == {"a"}


def test_two_traces_are_equal_byte_for_byte():
    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16).half())
    one, other = (checkpoint.trace(Net(plainly, a=(8, 16), b=(8, 16))).plan for _ in range(2))
    assert dump_plan(one) == dump_plan(other)


def test_files_are_planned_in_the_order_of_their_names():
    second, first = Checkpoint(a=torch.rand(8, 16)), Checkpoint(b=torch.rand(8, 16))
    files = [second.file._replace(path="2.safetensors"), first.file._replace(path="1.safetensors")]
    net = Net(plainly, a=(8, 16), b=(8, 16))
    plan = trace(net, files, net.load_weights, KEY).plan
    assert [file.path for file in plan.files] == ["1.safetensors", "2.safetensors"]
    assert [piece.file for piece in plan.pieces] == [0, 1]


def refused(take, **shapes):
    """Return why a load has no plan."""
    checkpoint = Checkpoint(a=torch.rand(8, 16))
    net = Net(take, **(shapes or {"a": (8, 16)}))
    traced = checkpoint.trace(net)
    assert traced.plan is None
    assert not any(t.is_meta for t in (*net.parameters(), *net.buffers()))
    return traced.reason


def test_a_load_that_decides_by_content_has_no_plan():
    def take(net, name, tensor):
        if tensor.max().item() > 0:
            net.a.data.copy_(tensor)

    assert "meta tensors" in refused(take) or "decides" in refused(take)


def test_a_load_that_decides_by_what_it_loaded_has_no_plan():
    def take(net, name, tensor):
        net.a.data.copy_(tensor)
        if net.a.max() > 0:
            net.a.data.fill_(0)

    assert "decides by the content" in refused(take)


def test_a_load_that_fills_a_parameter_has_no_plan():
    def take(net, name, tensor):
        net.a.data.fill_(1)

    assert "fills a parameter" in refused(take)


def test_minus_zero_is_not_zero():
    def take(net, name, tensor):
        net.a.data.fill_(-0.0)

    assert "fills a parameter" in refused(take)


def test_a_load_that_puts_its_own_values_into_a_parameter_has_no_plan():
    def take(net, name, tensor):
        net.a.data.copy_(torch.ones(8, 16))

    assert "values of its own" in refused(take)


def test_a_load_that_computes_a_parameter_has_no_plan():
    def take(net, name, tensor):
        net.a.data.copy_(tensor)
        net.a.data.mul_(2)

    assert "computes a parameter" in refused(take)


def test_a_refusal_that_the_model_catches_counts_all_the_same():
    def take(net, name, tensor):
        try:
            net.a.data.fill_(1)
        except Exception:
            net.a.data.copy_(tensor)

    assert "fills a parameter" in refused(take)


def test_a_load_that_puts_another_parameter_in_place_has_no_plan():
    def take(net, name, tensor):
        net.a = nn.Parameter(tensor, requires_grad=False)

    assert refused(take) == "the model replaces a while it loads"


def test_a_load_that_points_a_parameter_elsewhere_has_no_plan():
    def take(net, name, tensor):
        net.a.data = torch.full((8, 16), 9.0)

    assert refused(take) == "the model replaces a while it loads"


def test_a_load_that_adds_to_the_model_has_no_plan():
    def take(net, name, tensor):
        net.add_module("more", nn.Linear(2, 2))
        net.a.data.copy_(tensor)

    assert refused(take) == "the model replaces more while it loads"


def test_a_load_that_fails_over_tensors_without_content_has_no_plan():
    def take(net, name, tensor):
        raise ValueError("not this one")

    assert refused(take) == "ValueError: not this one"


def test_a_model_that_makes_its_parameters_while_it_loads_has_no_plan():
    net = Net(plainly)
    net.a = nn.UninitializedParameter(requires_grad=False)
    traced = trace(net, [Checkpoint(a=torch.rand(8, 16)).file], net.load_weights, KEY)
    assert traced == (None, "the model makes its parameters while it loads", None, frozenset())


def test_a_plan_that_is_too_long_is_none(monkeypatch):
    monkeypatch.setattr(plans, "MAX_PLAN", 100)
    assert "above 100" in refused(plainly)


@pytest.mark.parametrize("name", ["copy", "index", "where"])
def test_other_ways_to_write_are_the_models_own(name):
    def take(net, each, tensor):
        if each == "b":
            net.b.data.copy_(tensor)
        elif name == "copy":
            net.a.data.index_copy_(0, torch.arange(8), tensor)
        elif name == "index":
            net.a.data[torch.arange(8)] = tensor
        else:
            torch.add(tensor, 1, out=net.a.data)

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, a=(8, 16), b=(8, 16))).plan
    assert names(plan) == {"b"}
    assert checkpoint.kept(plan) == {"a"}


def test_a_tensor_that_is_put_aside_until_another_comes_is_read_whole_with_that_one():
    def take(net, name, tensor):
        if name == "a":
            net.aside = tensor
        else:
            getattr(net, name).data.copy_(tensor)
        if name == "b":
            net.a.data.copy_(net.aside)
            del net.aside

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16), c=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, a=(8, 16), b=(8, 16), c=(8, 16))).plan
    assert names(plan) == {"c"}
    assert checkpoint.kept(plan) == {"a", "b"}


def test_tensors_that_are_collected_first_are_laid_out():
    class Collecting(Net):
        def load_weights(self, weights):
            super().load_weights(iter(dict(weights).items()))

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16))
    plan = checkpoint.trace(Collecting(plainly, a=(8, 16), b=(8, 16))).plan
    assert names(plan) == {"a", "b"}


def test_a_tensor_that_changes_another_ones_parameter_is_given_to_the_model():
    def take(net, name, tensor):
        getattr(net, name).data.copy_(tensor)
        if name == "b":
            net.a.data[4:].copy_(net.a.data[:4])

    checkpoint = Checkpoint(a=torch.rand(8, 16), b=torch.rand(8, 16), c=torch.rand(8, 16))
    plan = checkpoint.trace(Net(take, a=(8, 16), b=(8, 16), c=(8, 16))).plan
    assert checkpoint.kept(plan) == {"a", "b"}
