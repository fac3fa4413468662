"""The key of a plan, from a configuration like vLLM's. The real one: tests/engines/test_plans."""

from types import SimpleNamespace

import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.plans import Key
from replica_agent.engines import vllm_plan
from replica_agent.engines.vllm_plan import plan_key

CHECKPOINT = "c" * 32


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    monkeypatch.setattr(vllm_plan, "vllm_version", lambda: "0.32.0")


def config(**parallel):
    shared = {"tensor_parallel_size": 2, "pipeline_parallel_size": 1}
    return SimpleNamespace(
        model_config=SimpleNamespace(dtype="torch.bfloat16", quantization=None),
        parallel_config=SimpleNamespace(**shared, enable_expert_parallel=False, **parallel),
        device_config=SimpleNamespace(device_type="cpu"),
    )


def test_a_key_says_what_the_configuration_says():
    told = config(data_parallel_size=1)
    key = Key(CHECKPOINT, "vllm", "0.32.0", "cpu", "tp2", 2, 1, "bfloat16", "")
    assert plan_key(CHECKPOINT, told.model_config, told, 1) == key


def test_a_version_that_has_no_such_option_is_as_one_that_does_not_use_it():
    told = config()
    assert plan_key(CHECKPOINT, told.model_config, told, 0).layout == "tp2"


@pytest.mark.parametrize(
    "parallel",
    [
        {"data_parallel_size": 2},
        {"nnodes": 2},
        {"prefill_context_parallel_size": 2},
        {"enable_eplb": True},
        {"enable_elastic_ep": True},
    ],
)
def test_what_a_command_line_could_not_tell_has_no_plan(parallel):
    told = config(**parallel)
    with pytest.raises(MalformedError, match="has no plan"):
        plan_key(CHECKPOINT, told.model_config, told, 0)


def test_a_drafter_has_no_plan():
    with pytest.raises(MalformedError, match="drafter"):
        plan_key(CHECKPOINT, SimpleNamespace(), config(), 0)


def test_a_version_that_hides_its_configuration_has_no_plan():
    with pytest.raises(MalformedError, match="does not tell"):
        plan_key(CHECKPOINT, SimpleNamespace(), None, 0)
