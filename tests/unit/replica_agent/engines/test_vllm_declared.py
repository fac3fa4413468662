"""Memory on a device, which vLLM takes from its budget before the model is made."""

import gc
import threading
from pathlib import Path
from types import SimpleNamespace

import torch

from replica_agent.arenas.cuda.driver import DriverError
from replica_agent.handover.messages import Outcome
from tests.fakes.handover import host
from tests.fakes.node import opened
from tests.fakes.sharded import (
    ADOPTED,
    FILE,
    WEIGHTS,
    Sharded,
    ended,
    is_fed,
    looks_at_shard,
    memory_of,
    on_its_way,
    prepared,
    same,
    traced,
)
from tests.fakes.vllm_stand_in import BaseModelLoader, ModelConfig


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


def test_a_model_that_is_not_traced_is_put_where_its_budget_is(
    vllm, tmp_path, node, plans, on_device
):
    def build():
        model = Sharded()
        model.quant_method = SimpleNamespace(uses_meta_device=True)
        return model

    with host(node, plans={"llm": plans}) as here:
        made, counted = on_its_way(vllm, tmp_path, here, build)
        assert counted
        model = vllm.loader().load_model(made, made.model_config)
        assert looks_at_shard(model) == ADOPTED
        assert same(model, 0)


# A pull that failed may still write to what it laid out, and so may an agent that was silent.


def test_weights_of_the_origin_are_not_put_where_a_pull_that_failed_may_write(
    vllm, tmp_path, node, plans, on_device, origin
):
    node.corrupt("llm", FILE, chunk=0, sends=99)
    with host(node, plans={"llm": plans}) as here:
        assert is_its_own(vllm, tmp_path, here, origin)


def test_what_was_adopted_is_not_kept_when_the_pull_fails(
    vllm, tmp_path, node, plans, on_device, origin
):
    class Ending(Sharded):
        def load_weights(self, weights):
            loaded = super().load_weights(weights)
            if self.fed_for_real == ["norm"]:
                assert looks_at_shard(self) == ADOPTED
                here.pull.close()
            return loaded

    gate = node.faults.verdict_gates["llm", FILE] = threading.Event()
    with opened(gate), host(node, plans={"llm": plans}) as here:
        assert is_its_own(vllm, tmp_path, here, origin, Ending)


def is_its_own(vllm, tmp_path, here, origin, build=Sharded):
    """Whether a model that comes from its origin has all its weights, and no memory but its own."""
    made, counted = on_its_way(vllm, tmp_path, here, build, origin)
    assert counted
    model = vllm.loader().load_model(made, made.model_config)
    assert ended(here, 1)[-1].outcome is Outcome.ORIGIN
    assert not [memory for memory in memory_of(model).values() if "memfd" in memory]
    gc.collect()  # what other tests left
    assert "memfd:llm-rank0" not in Path("/proc/self/maps").read_text()
    return same(model, 0)


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
