"""The loader of vLLM where the agent has laid the model out: a stand-in of vLLM, a real agent."""

import gc
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from cache_protocol.plans import parse_plan
from replica_agent.handover.messages import Outcome
from tests.fakes.handover import host
from tests.fakes.node import FakeNode, opened
from tests.fakes.sharded import (
    ADOPTED,
    FILE,
    RANKS,
    SIZE,
    WEIGHTS,
    Sharded,
    checkpoint,
    ended,
    is_fed,
    load,
    looks_at_shard,
    prepared,
    same,
    traced,
)
from tests.fakes.vllm_stand_in import DefaultModelLoader, ModelConfig


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


@pytest.mark.parametrize(
    ("more", "model"),
    [
        ({"offload_config": SimpleNamespace(uva=SimpleNamespace(cpu_offload_gb=4))}, {}),
        ({"quant_config": object()}, {}),
        ({}, {"enable_sleep_mode": True}),
    ],
)
def test_a_model_whose_weights_do_not_stay_leaves_no_plan(vllm, tmp_path, node, more, model):
    assert left_by(vllm, tmp_path, node, more, model) == ()


def test_a_quantised_model_leaves_a_plan_that_says_so(vllm, tmp_path, node):
    (sent,) = left_by(vllm, tmp_path, node, {}, {"quantization": "fp8"})
    assert parse_plan(sent.document).key.quantisation == "fp8"


def left_by(vllm, tmp_path, node, more, model):
    """Return the plans that a first boot of such a model leaves."""
    with host(node) as here:
        config = prepared(tmp_path / "llm", here.path)
        vars(config).update(model)
        vllm.rank, vllm.ranks = 0, RANKS
        made = vllm.loader().load_model(vllm.made(config, Sharded, **more), config)
        assert same(made, 0)
        ended(here, 1)
        return here.server.plans


def test_where_tokens_are_guessed_without_a_drafter_the_model_adopts(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        config = prepared(tmp_path / "llm", here.path)
        guessed = SimpleNamespace(draft_model_config=config, method="ngram")
        vllm.configured(config, config)
        vllm.rank, vllm.ranks = 0, RANKS
        made = vllm.made(config, Sharded, speculative_config=guessed)
        assert looks_at_shard(vllm.loader().load_model(made, config)) == ADOPTED
        assert [c.outcome for c in ended(here, 1)] == [Outcome.LOADED]


def test_a_model_that_a_drafter_is_made_of_leaves_no_plan(vllm, tmp_path, node):
    with host(node) as here:
        config = prepared(tmp_path / "llm", here.path)
        drafter = SimpleNamespace(draft_model_config=ModelConfig(config.model))
        vllm.rank, vllm.ranks = 0, RANKS
        made = vllm.made(config, Sharded, speculative_config=drafter)
        vllm.loader().load_model(made, config)
        ended(here, 1)
        assert here.server.plans == ()


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


# Never worse than without.


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
