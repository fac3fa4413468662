"""The loader of vLLM where the agent has laid the model out: a stand-in of vLLM, a real agent."""

import gc
import os
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from torch import nn

from cache_protocol.plans import parse_plan
from replica_agent.arenas.cuda.driver import DriverError
from replica_agent.arenas.laid_out import LaidOutArena
from replica_agent.engines import vllm_plan
from replica_agent.handover import client
from replica_agent.handover.client import attach
from replica_agent.handover.messages import Outcome
from replica_agent.handover.place import Origin, Place, write_place
from replica_agent.handover.shared import Lent
from tests.fakes.handover import host
from tests.fakes.node import FakeNode, opened
from tests.fakes.vllm_stand_in import BaseModelLoader, DefaultModelLoader, ModelConfig, StandIn

SIZE, RANKS, LIMIT = 64, 2, 30.0
FILE = "model.safetensors"


def checkpoint(seed=1):
    torch.manual_seed(seed)
    names = ["embedding", "gate", "up", "down", "norm"]
    tensors = {name: torch.randn(SIZE, SIZE, dtype=torch.bfloat16) for name in names[:-1]}
    return tensors | {"norm": torch.randn(SIZE, dtype=torch.bfloat16)}


WEIGHTS = checkpoint()


class Sharded(nn.Module):
    """A rank of a model, as engines make them: fused, cut both ways, and one that is computed."""

    def __init__(self, rank=0, *, swapped=False):
        super().__init__()
        self.rank, self.share, self.fed = rank, SIZE // RANKS, []
        self.order = ("up", "gate") if swapped else ("gate", "up")

        def blank(*shape, dtype=torch.bfloat16):
            return nn.Parameter(torch.empty(*shape, dtype=dtype), requires_grad=False)

        self.embedding = blank(SIZE, SIZE)
        self.gate_up = blank(2 * self.share, SIZE)
        self.down = blank(SIZE, self.share)
        self.norm = blank(SIZE, dtype=torch.float32)

    def load_weights(self, weights):
        loaded = set()
        for name, tensor in weights:
            self.fed.append((name, tensor.device.type))
            loaded.add(self.take(name, tensor))
        return loaded

    def take(self, name, tensor):
        first = self.rank * self.share
        if name in self.order:
            place = self.order.index(name) * self.share
            part = self.gate_up.data[place : place + self.share]
            part.copy_(tensor.narrow(0, first, self.share))
            return "gate_up"
        if name == "down":
            self.down.data.copy_(tensor.narrow(1, first, self.share))
        else:
            getattr(self, name).data.copy_(tensor)  # the norm is another type than its file's
        return name

    @property
    def fed_for_real(self):
        return [name for name, device in self.fed if device != "meta"]


def expected(rank, weights=WEIGHTS, **options):
    model = Sharded(rank, **options)
    model.load_weights(iter(weights.items()))
    return dict(model.named_parameters())


def same(model, rank, weights=WEIGHTS, **options):
    wanted = expected(rank, weights, **options)
    return all(torch.equal(p, wanted[name]) for name, p in model.named_parameters())


def memory_of(model):
    """Return, by parameter, the name of the mapping that it is in."""
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    areas = [(*(int(n, 16) for n in m[0].split("-")), " ".join(m[5:])) for m in maps]

    def area(address):
        return next(name for begin, end, name in areas if begin <= address < end)

    return {name: area(p.data_ptr()) for name, p in model.named_parameters()}


def looks_at_shard(model, rank=0):
    where = memory_of(model)
    return {name for name, memory in where.items() if f"-rank{rank}" in memory}


ADOPTED = {"embedding", "gate_up", "down"}


@pytest.fixture
def vllm(monkeypatch):
    monkeypatch.setattr(vllm_plan, "vllm_version", lambda: "0.32.0")
    # On a busy machine headers may take half a second: a plan would be missing now and then.
    monkeypatch.setattr("replica_agent.engines.load.PATIENCE", LIMIT)
    return StandIn(monkeypatch)


@pytest.fixture
def node():
    with FakeNode({"llm": {"config.json": b"{}", FILE: safetensors.torch.save(WEIGHTS)}}) as node:
        yield node


def prepared(directory, socket, origin=None):
    directory.mkdir(exist_ok=True)
    source = None if origin is None else Origin(f"file://{origin}")
    write_place(
        directory,
        Place(socket, "llm", "voice", "g", "fail" if origin is None else "origin", source),
    )
    return ModelConfig(str(directory))


def load(vllm, tmp_path, here, rank=0, *, build=None, origin=None, **more):
    """Have a rank make and load its model; return it."""
    config = prepared(tmp_path / "llm", here.path, origin)
    vllm.rank, vllm.ranks = rank, RANKS
    made = vllm.made(config, build or (lambda: Sharded(rank)), **more)
    loader = vllm.loader()
    return loader.load_model(vllm_config=made, model_config=config)


def ended(here, count):
    """Wait for ``count`` consumers to have ended; return them."""
    with here.server._changed:
        assert here.server._changed.wait_for(
            lambda: sum(c.outcome is not None for c in here.server.consumers) >= count, LIMIT
        )
    return here.server.consumers


def traced(vllm, tmp_path, node, **options):
    """Return the plans that the ranks of a first boot send."""
    with host(node) as here:
        for rank in range(RANKS):
            load(vllm, tmp_path, here, rank, build=lambda rank=rank: Sharded(rank, **options))
        ended(here, RANKS)
        plans = sorted(here.server.plans, key=lambda sent: sent.rank)
        assert [(sent.model, sent.rank) for sent in plans] == [("llm", 0), ("llm", 1)]
        return [parse_plan(sent.document) for sent in plans]


@pytest.fixture
def plans(vllm, tmp_path, node):
    return traced(vllm, tmp_path, node)


def test_a_first_boot_says_what_each_rank_reads(plans):
    for rank, plan in enumerate(plans):
        assert {p.name for p in plan.parameters} == ADOPTED
        assert (plan.key.engine, plan.key.layout, plan.key.rank) == ("vllm", "tp2", rank)
        assert plan.read < 0.7 * sum(t.nbytes for t in WEIGHTS.values())


@pytest.mark.parametrize("rank", range(RANKS))
def test_the_next_boot_adopts_what_was_laid_out(vllm, tmp_path, node, plans, rank):
    with host(node, plans={"llm": plans}) as here:
        model = load(vllm, tmp_path, here, rank)
        assert looks_at_shard(model, rank) == ADOPTED
        assert same(model, rank)
        (consumer,) = ended(here, 1)
        assert consumer.outcome is Outcome.LOADED
        assert consumer.adopted == sum(p.size for p in plans[rank].parameters)
        assert (consumer.rank, consumer.peers) == (rank, RANKS)
        assert here.server.remarks == ()


def test_only_what_is_read_whole_is_fed(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        assert load(vllm, tmp_path, here).fed_for_real == ["norm"]


def test_a_rank_that_adopted_sends_no_plan(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        load(vllm, tmp_path, here)
        ended(here, 1)
        assert here.server.plans == ()


def test_parameters_have_no_memory_while_the_model_is_made(vllm, tmp_path, node, plans):
    sizes = []

    def build():
        model = Sharded()
        sizes.extend(p.untyped_storage().nbytes() for p in model.parameters())
        return model

    with host(node, plans={"llm": plans}) as here:
        load(vllm, tmp_path, here, build=build)
    assert sizes == [0, 0, 0, SIZE * 4]


def test_nothing_of_ours_is_left_when_the_model_goes(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        here.pull.wait()
        gc.collect()
        before = held()
        model = load(vllm, tmp_path, here)
        ended(here, 1)
        assert held() > before
        del model
        gc.collect()
        assert held() == before


def held():
    links = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    mapped = Path("/proc/self/maps").read_text()
    return mapped.count("memfd:llm") + sum("memfd:llm" in link for link in links)


def test_what_was_adopted_outlives_the_agent(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        model = load(vllm, tmp_path, here)
        ended(here, 1)
    here.memory = here.pull = None
    gc.collect()
    assert same(model, 0)


def test_a_load_does_not_end_before_what_it_adopted_is_confirmed(vllm, tmp_path, node, plans):
    gate = node.faults.verdict_gates["llm", FILE] = threading.Event()
    made = []
    with opened(gate), host(node, plans={"llm": plans}) as here:
        loading = threading.Thread(target=lambda: made.append(load(vllm, tmp_path, here)))
        loading.start()
        here.pull.transfer().arrivals("llm", 1)
        assert not here.server.wait_consumed(0.05)
        assert made == []
        gate.set()
        loading.join()
        assert same(made[0], 0)
        assert looks_at_shard(made[0]) == ADOPTED


def test_a_file_that_was_pulled_again_is_right_where_it_was_adopted(vllm, tmp_path):
    other = checkpoint(2)
    with FakeNode({"llm": {FILE: safetensors.torch.save(WEIGHTS)}}, know_sha256=False) as node:
        plans = traced(vllm, tmp_path, node)

        def pulled_again():
            node.models["llm"][FILE] = safetensors.torch.save(other)

        node.before_verdict = pulled_again
        with host(node, plans={"llm": plans}) as here:
            model = load(vllm, tmp_path, here)
            assert looks_at_shard(model) == ADOPTED
            assert same(model, 0, other)


# What is laid out is not what this engine reads: it costs time, and never a wrong weight.


def is_fed(here, model, consumers=2, **options):
    """Whether a model has memory of its own, and all weights; the last consumer says so, too."""
    last = ended(here, consumers)[-1]
    assert (last.outcome, last.adopted) == (Outcome.LOADED, 0)
    assert not [m for m in memory_of(model).values() if "memfd" in m]
    assert set(model.fed_for_real) == WEIGHTS.keys()
    return same(model, 0, **options)


def test_a_forged_plan_is_refused_and_the_truth_replaces_it(vllm, tmp_path, node, plans):
    forged = traced(vllm, tmp_path, node, swapped=True)
    assert [p.parameters for p in forged] == [p.parameters for p in plans]
    with host(node, plans={"llm": forged}) as here:
        model = load(vllm, tmp_path, here)
        assert is_fed(here, model)
        (remark,) = here.server.remarks
        assert "this engine reads other bytes than the plan says" in remark
        (sent,) = here.server.plans
        assert parse_plan(sent.document) == plans[0]


def test_a_forged_plan_that_keeps_no_header_is_refused(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": [replace(plan, kept=()) for plan in plans]}) as here:
        assert is_fed(here, load(vllm, tmp_path, here))
        assert parse_plan(here.server.plans[0].document) == plans[0]


def test_a_forged_plan_that_keeps_too_little_is_refused(vllm, tmp_path, node, plans):
    header = [replace(plan, kept=plan.kept[:1]) for plan in plans]
    with host(node, plans={"llm": header}) as here:
        assert is_fed(here, load(vllm, tmp_path, here))


def test_a_plan_of_another_version_is_refused(vllm, tmp_path, node, plans, monkeypatch):
    monkeypatch.setattr(vllm_plan, "vllm_version", lambda: "0.33.0")
    with host(node, plans={"llm": plans}) as here:
        assert is_fed(here, load(vllm, tmp_path, here))
        assert parse_plan(here.server.plans[0].document).key.version == "0.33.0"


def test_when_one_rank_refuses_those_that_adopted_load_plain_files(vllm, tmp_path, node, plans):
    forged = traced(vllm, tmp_path, node, swapped=True)
    gate = node.faults.verdict_gates["llm", FILE] = threading.Event()
    made = []
    with opened(gate), host(node, plans={"llm": [plans[0], forged[1]]}) as here:
        loading = threading.Thread(target=lambda: made.append(load(vllm, tmp_path, here)))
        loading.start()
        with here.server._changed:
            assert here.server._changed.wait_for(lambda: here.server._consumers, LIMIT)
        vllm_of_other = load_in_vain(here)
        gate.set()
        loading.join()
        vllm_of_other.close()
        assert is_fed(here, made[0], consumers=3)


def load_in_vain(here):
    """Refuse the shard of the second rank, as an engine does; return the connection."""
    attached = attach(here.path, "llm", rank=1, peers=2, adopts=True)
    attached.refuse("made up")
    return attached


def test_a_slice_that_a_layer_has_put_aside_is_filled_with_the_rest(vllm, tmp_path, node, plans):
    def build():
        model = Sharded()
        model.aside = [model.gate_up.data[3]]
        return model

    with host(node, plans={"llm": plans}) as here:
        model = load(vllm, tmp_path, here, build=build)
        assert is_fed(here, model)
        assert torch.equal(model.aside[0], model.gate_up[3])
        assert "somebody else holds the memory of 1 parameters" in here.server.remarks[0]


def test_a_model_that_wants_all_its_weights_at_once_gets_them(vllm, tmp_path, node, plans):
    class Strict(Sharded):
        def load_weights(self, weights):
            weights = dict(weights)
            if len(weights) != len(WEIGHTS):
                raise KeyError("not all weights are there")
            return super().load_weights(iter(weights.items()))

    with host(node, plans={"llm": plans}) as here:
        assert is_fed(here, load(vllm, tmp_path, here, build=Strict))
        assert "does not take the rest alone" in here.server.remarks[0]


def test_a_parameter_that_a_load_moves_is_no_longer_counted_on(
    vllm, tmp_path, node, plans, monkeypatch
):
    class Moving(Sharded):
        def load_weights(self, weights):
            loaded = super().load_weights(weights)
            if self.fed_for_real:
                self.down.data = self.down.data.clone()
            return loaded

    mapped = []
    ask = client.connect

    def watched(*args, **more):
        maps = Path("/proc/self/maps").read_text()
        mapped.append("memfd:llm-rank" in maps)
        return ask(*args, **more)

    vllm.register()
    monkeypatch.setattr("replica_agent.engines.load.connect", watched)
    with host(node, plans={"llm": plans}) as here:
        assert is_fed(here, load(vllm, tmp_path, here, build=Moving))
        assert "1 parameters were moved, down one of them" in here.server.remarks[0]
    assert mapped == [False, False]  # the agent may need that room for plain files


def test_content_that_moves_after_it_was_adopted_is_loaded_anew(vllm, tmp_path, node, plans):
    other = checkpoint(3)
    gate = node.faults.verdict_gates["llm", FILE] = threading.Event()

    class Moved(Sharded):
        def load_weights(self, weights):
            loaded = super().load_weights(weights)
            if self.fed_for_real == ["norm"]:
                node.replace({"llm": {"config.json": b"{}", FILE: safetensors.torch.save(other)}})
                gate.set()
                here.pull.transfer().refresh(here.pull._client.manifest("voice"))
            return loaded

    with opened(gate), host(node, plans={"llm": plans}) as here:
        model = load(vllm, tmp_path, here, build=Moved)
        assert same(model, 0, other)
        assert looks_at_shard(model) == set()


@pytest.mark.parametrize(
    ("more", "model"),
    [
        ({"quant_config": object()}, {}),
        ({"offload_config": SimpleNamespace(uva=SimpleNamespace(cpu_offload_gb=4))}, {}),
        ({"cache_config": SimpleNamespace(cpu_offload_gb=4)}, {}),
        ({"load_config": SimpleNamespace(device="cpu")}, {}),
        ({}, {"enable_sleep_mode": True}),
        ({}, {"quantization": "fp8"}),
        ({}, {"runner_type": "draft"}),
    ],
)
def test_a_model_whose_weights_do_not_stay_is_fed(vllm, tmp_path, node, plans, more, model):
    with host(node, plans={"llm": plans}) as here:
        config = prepared(tmp_path / "llm", here.path)
        vars(config).update(model)
        vllm.rank, vllm.ranks = 0, RANKS
        made = vllm.loader().load_model(vllm.made(config, Sharded, **more), config)
        assert is_fed(here, made, consumers=1)
        assert "it takes no memory that is laid out" in here.server.remarks[0]


def test_a_drafter_of_the_same_files_keeps_them_as_they_are(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        config = prepared(tmp_path / "llm", here.path)
        drafter = ModelConfig(config.model)
        speculative = SimpleNamespace(draft_model_config=drafter)
        vllm.configured(config, drafter)
        vllm.rank, vllm.ranks = 0, RANKS
        made = vllm.made(config, Sharded, speculative_config=speculative)
        for each in (config, drafter):
            assert same(vllm.loader().load_model(made, each), 0)
        assert [c.outcome for c in ended(here, 1)] == [Outcome.LOADED]


def test_weights_fed_to_a_model_that_is_made_already_are_plain(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        config = prepared(tmp_path / "llm", here.path)
        model = Sharded()
        vllm.loader().load_weights(model, config)
        assert is_fed(here, model, consumers=1)


def test_what_was_adopted_can_be_loaded_again(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        model = load(vllm, tmp_path, here)
        ended(here, 1)
        config = ModelConfig(str(tmp_path / "llm"))
        again = dict(vllm.loader().get_all_weights(config, model))
        assert all(torch.equal(again[name], WEIGHTS[name]) for name in WEIGHTS)
        model.load_weights(iter(again.items()))
        assert same(model, 0)
        assert looks_at_shard(model) == ADOPTED


# Where parameters do not stay where they were loaded, nobody should lay them out.


@pytest.fixture
def staying(vllm):
    """Have a vLLM whose parameters stay, as on a GPU; on a CPU it packs them."""
    vllm.register()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replica_agent.engines.vllm_loader.packs", lambda _: False)
        yield


@pytest.mark.usefixtures("staying")
def test_a_plan_is_left_once_parameters_have_stayed(vllm, tmp_path, node, plans):
    def nothing_yet(_):
        assert [c.outcome for c in here.server.consumers] == [None]
        assert here.server.plans == ()

    with host(node) as here:
        load(vllm, tmp_path, here, process=nothing_yet)
        assert ended(here, 1)[0].outcome is Outcome.LOADED
        assert parse_plan(here.server.plans[0].document) == plans[0]


@pytest.mark.usefixtures("staying")
def test_of_parameters_that_are_made_anew_after_the_load_there_is_no_plan(
    vllm, tmp_path, node, caplog
):
    def packed(model):
        model.down.data = model.down.data.clone()

    with host(node) as here, caplog.at_level("WARNING"):
        load(vllm, tmp_path, here, process=packed)
        assert ended(here, 1)[0].outcome is Outcome.LOADED
        assert here.server.plans == ()
    assert "vLLM made 1 parameters anew after the load, down one of them" in caplog.text


def test_an_engine_that_packs_what_it_adopted_gives_the_memory_back(vllm, tmp_path, node, plans):
    def packed(model):
        for parameter in (model.gate_up, model.down):
            parameter.data = parameter.data.clone()

    with host(node, plans={"llm": plans}) as here:
        model = load(vllm, tmp_path, here, process=packed)
        assert ended(here, 1)[0].adopted
        assert looks_at_shard(model) == set()
        assert torch.equal(model.embedding, WEIGHTS["embedding"])


@pytest.mark.usefixtures("staying")
def test_a_model_that_fails_after_its_load_is_reported(vllm, tmp_path, node):
    def broken(_):
        raise MemoryError("no room to pack")

    with host(node) as here:
        with pytest.raises(MemoryError):
            load(vllm, tmp_path, here, process=broken)
        (consumer,) = ended(here, 1)
        assert (consumer.outcome, consumer.reason) == (Outcome.FAILED, "no room to pack")


# Memory on a device, which vLLM takes from its budget before the model is made.


@pytest.fixture
def on_device(monkeypatch):
    """Have the agent's memory be on a device, and every device be in this host's memory."""
    shard = LaidOutArena.shard

    def named(self, rank):
        words, fd = shard(self, rank)
        return Lent(words._replace(device="GPU-1"), fd)

    def imported(descriptor, size, uuid):
        assert uuid == "GPU-1"
        return torch.frombuffer(client._mapped(descriptor, size), dtype=torch.uint8)

    monkeypatch.setattr(LaidOutArena, "shard", named)
    monkeypatch.setattr("replica_agent.engines.device_shard.device_shard", imported)


def on_its_way(vllm, tmp_path, here, build=Sharded):
    config = prepared(tmp_path / "llm", here.path)
    vllm.rank, vllm.ranks = 0, RANKS
    made = vllm.made(config, build)
    return made, vllm.loader().get_external_weight_memory(made)


def test_memory_on_a_device_is_declared_and_adopted(vllm, tmp_path, node, plans, on_device):
    with host(node, plans={"llm": plans}) as here:
        made, counted = on_its_way(vllm, tmp_path, here)
        assert counted == plans[0].size
        model = vllm.loader().load_model(made, made.model_config)
        assert looks_at_shard(model) == ADOPTED
        assert same(model, 0)
        assert [c.outcome for c in ended(here, 1)] == [Outcome.LOADED]


def test_a_model_is_put_where_its_budget_is_when_the_plan_is_refused(
    vllm, tmp_path, node, plans, on_device
):
    forged = traced(vllm, tmp_path, node, swapped=True)
    with host(node, plans={"llm": forged}) as here:
        made, counted = on_its_way(vllm, tmp_path, here)
        assert counted == forged[0].size
        model = vllm.loader().load_model(made, made.model_config)
        assert looks_at_shard(model) == ADOPTED
        assert same(model, 0)
        assert set(model.fed_for_real) == WEIGHTS.keys()
        assert ended(here, 2)[-1].adopted == 0


def test_memory_that_cannot_be_imported_is_not_declared(
    vllm, tmp_path, node, plans, on_device, monkeypatch
):
    def failing(*_):
        raise DriverError("cuMemImportFromShareableHandle: another driver")

    monkeypatch.setattr("replica_agent.engines.device_shard.device_shard", failing)
    with host(node, plans={"llm": plans}) as here:
        made, counted = on_its_way(vllm, tmp_path, here)
        assert counted == 0
        model = vllm.loader().load_model(made, made.model_config)
        assert is_fed(here, model)
        assert "cannot be mapped here" in here.server.remarks[0]


def test_memory_on_the_host_is_not_declared(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        made, counted = on_its_way(vllm, tmp_path, here)
        assert counted == 0
        assert looks_at_shard(vllm.loader().load_model(made, made.model_config)) == ADOPTED
        assert len(ended(here, 1)) == 1


def test_a_vllm_that_cannot_count_others_memory_leaves_no_plan_for_devices(vllm, monkeypatch):
    vllm.register()
    from replica_agent.engines.vllm_adoption import why_not_planned  # noqa: PLC0415

    config = ModelConfig("/llm")
    on_gpu = SimpleNamespace(device=torch.device("cuda"), device_type="cuda")
    made = vllm.made(config, Sharded, device_config=on_gpu)
    assert why_not_planned(made, config) is None
    monkeypatch.delattr(BaseModelLoader, "get_external_weight_memory")
    assert "0.32 does" in why_not_planned(made, config)


def test_nothing_is_declared_of_a_model_of_nobodys(vllm, tmp_path):
    config = ModelConfig(str(tmp_path))
    assert vllm.loader().get_external_weight_memory(vllm.made(config, Sharded)) == 0


def test_an_agent_that_is_not_there_declares_nothing(vllm, tmp_path, origin):
    config = prepared(tmp_path / "llm", tmp_path / "none", origin)
    made = vllm.made(config, Sharded)
    assert vllm.loader().get_external_weight_memory(made) == 0
    assert same(vllm.loader().load_model(made, config), 0)


# Never worse than without.


@pytest.fixture
def origin(tmp_path):
    directory = tmp_path / "origin"
    directory.mkdir()
    (directory / FILE).write_bytes(safetensors.torch.save(WEIGHTS))
    return directory


def test_a_model_without_memory_is_loaded_from_its_origin(vllm, tmp_path, node, plans, origin):
    node.corrupt("llm", FILE, chunk=0, sends=99)
    with host(node, plans={"llm": plans}) as here:
        model = load(vllm, tmp_path, here, origin=origin)
        assert same(model, 0)
        assert DefaultModelLoader.read == [(str(tmp_path / "llm"), None)]
        assert ended(here, 1)[-1].outcome is Outcome.ORIGIN


def test_an_agent_that_is_not_there_is_gone_around(vllm, tmp_path, origin):
    here = SimpleNamespace(path=tmp_path / "none")
    assert same(load(vllm, tmp_path, here, origin=origin), 0)


def test_a_model_that_cannot_be_made_is_reported(vllm, tmp_path, node, plans):
    def broken():
        raise MemoryError("no room for a model")

    with host(node, plans={"llm": plans}) as here:
        with pytest.raises(MemoryError):
            load(vllm, tmp_path, here, build=broken)
        (consumer,) = ended(here, 1)
        assert (consumer.outcome, consumer.reason) == (Outcome.FAILED, "no room for a model")
        assert torch.empty(2**20).untyped_storage().nbytes() == 4 * 2**20


def test_a_pull_that_is_late_is_not_held_up_by_a_plan(vllm, tmp_path, node, monkeypatch):
    vllm.register()
    monkeypatch.setattr("replica_agent.engines.load.PATIENCE", 0.0)
    with opened(node.gate("llm", FILE, 0)) as gate, host(node) as here:

        class Opening(Sharded):
            def load_weights(self, weights):
                gate.set()
                return super().load_weights(weights)

        model = load(vllm, tmp_path, here, build=Opening)
        assert same(model, 0)
        ended(here, 1)
        assert here.server.plans == ()


def test_layers_that_quantise_while_they_load_are_not_traced(vllm, tmp_path, node):
    def build():
        model = Sharded()
        model.quant_method = SimpleNamespace(uses_meta_device=True)
        return model

    with host(node) as here:
        model = load(vllm, tmp_path, here, build=build)
        assert model.fed == [(name, "cpu") for name in model.fed_for_real]
        ended(here, 1)
        assert here.server.plans == ()
