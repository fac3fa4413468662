"""Tier two: a real vLLM in a process, against its own default loader."""

from dataclasses import replace

import pytest

from cache_protocol.errors import IntegrityError
from cache_protocol.plans import parse_plan
from replica_agent.handover.messages import Outcome
from tests.engines.engine import prepare, served
from tests.fakes.agent_process import agent_process
from tests.fakes.handover import host
from tests.fakes.node import opened

pytestmark = pytest.mark.timeout(300)
SHARD = "model-00001-of-00002.safetensors"


def matches(given, usual):
    assert "error" not in given, given
    return given["digests"] == usual["digests"] and given["tokens"] == usual["tokens"]


def test_parameters_and_tokens_are_those_of_the_default_loader(engine, usual, tiny, tmp_path):
    with served(tiny) as node, host(node) as here:
        model = prepare(tmp_path / "llm", tiny, here.path)
        given = engine.run(model=str(model), load_format="warmline")
        assert matches(given, usual)
        assert [c.outcome for c in here.server.consumers] == [Outcome.LOADED]
        assert here.server.wait_consumed(0)


def test_nothing_of_ours_is_left_in_the_engine_after_the_load(engine, tiny, tmp_path):
    with served(tiny) as node, host(node) as here:
        model = prepare(tmp_path / "llm", tiny, here.path)
        assert engine.run(model=str(model), load_format="warmline")["left"] == []


def test_the_load_waits_for_weights_that_are_still_on_their_way(engine, usual, tiny, tmp_path):
    with served(tiny) as node, opened(node.gate("llm", SHARD, 0)) as gate, host(node) as here:
        model = prepare(tmp_path / "llm", tiny, here.path)
        engine.start(model=str(model), load_format="warmline")
        with here.server._changed:
            assert here.server._changed.wait_for(lambda: here.server._consumers, 60)
        gate.set()
        assert matches(engine.finish(), usual)
        assert here.server.consumers[0].waited > 0


def test_the_agent_can_be_named_in_the_extra_config(engine, usual, tiny, tmp_path):
    with served(tiny) as node, host(node) as here:
        model = prepare(tmp_path / "llm", tiny, "/nowhere")
        extra = {"socket": str(here.path), "model": "llm"}
        given = engine.run(model=str(model), load_format="warmline", extra=extra)
        assert matches(given, usual)


def test_unknown_extra_config_is_refused(engine, tiny):
    given = engine.run(model=str(tiny), load_format="warmline", extra={"sokcet": "x"})
    assert "extra config" in given["error"]


def test_a_model_of_nobodys_is_loaded_as_usual(engine, usual, tiny):
    assert matches(engine.run(model=str(tiny), load_format="warmline"), usual)


def test_weights_can_be_loaded_again_in_place(engine, usual, tiny, tmp_path):
    with served(tiny) as node, host(node) as here:
        model = prepare(tmp_path / "llm", tiny, here.path)
        given = engine.run(model=str(model), load_format="warmline", reload=True)
        assert matches(given, usual)
        assert [c.outcome for c in here.server.consumers] == [Outcome.LOADED] * 2


# What the agent has laid out as a plan of an earlier boot says.


@pytest.fixture(scope="module")
def plan(engine, tiny, tmp_path_factory):
    """Return the plan that a first boot makes."""
    with served(tiny) as node, host(node) as here:
        model = prepare(tmp_path_factory.mktemp("first") / "llm", tiny, here.path)
        assert "error" not in engine.run(model=str(model), load_format="warmline")
        assert here.server.wait_consumed(10)
        (sent,) = here.server.plans
        return parse_plan(sent.document)


def booted(engine, tiny, tmp_path, plan, **order):
    """Boot where memory is laid out by ``plan``; return the answer and the server."""
    with served(tiny) as node, host(node, plans={"llm": [plan]}) as here:
        model = prepare(tmp_path / "llm", tiny, here.path)
        return engine.run(model=str(model), load_format="warmline", **order), here.server


def test_a_plan_says_what_this_vllm_reads(plan, usual):
    assert {p.name for p in plan.parameters} == usual["digests"].keys()
    assert (plan.key.engine, plan.key.device, plan.key.layout) == ("vllm", "cpu", "tp1")


def test_parameters_look_at_the_agents_memory_and_answer_as_usual(
    engine, usual, tiny, tmp_path, plan
):
    given, server = booted(engine, tiny, tmp_path, plan)
    assert matches(given, usual)
    assert set(given["adopted"]) == usual["digests"].keys()
    assert given["after"] == []
    (consumer,) = server.consumers
    assert (consumer.outcome, consumer.adopted) == (
        Outcome.LOADED,
        sum(p.size for p in plan.parameters),
    )
    assert (server.remarks, server.plans) == ((), ())


def test_a_plan_of_another_vllm_is_refused_and_replaced(engine, usual, tiny, tmp_path, plan):
    other = replace(plan, key=replace(plan.key, version="0.31.0"))
    given, server = booted(engine, tiny, tmp_path, other)
    assert matches(given, usual)
    assert given["adopted"] == []
    assert parse_plan(server.plans[0].document) == plan


def test_a_forged_plan_costs_time_and_no_weight(engine, usual, tiny, tmp_path, plan):
    """Two pieces of one form are swapped: everything lies in its bounds, and is wrong."""
    first, second = (n for n, p in enumerate(plan.pieces) if p.parameter == _gate_up(plan))
    pieces = list(plan.pieces)
    pieces[first] = plan.pieces[first]._replace(begin=plan.pieces[second].begin)
    pieces[second] = plan.pieces[second]._replace(begin=plan.pieces[first].begin)
    given, server = booted(engine, tiny, tmp_path, replace(plan, pieces=tuple(pieces)))
    assert matches(given, usual)
    assert "reads other bytes than the plan says" in server.remarks[0]


def _gate_up(plan):
    return next(n for n, p in enumerate(plan.parameters) if "gate_up" in p.name)


def test_weights_that_were_adopted_can_be_loaded_again(engine, usual, tiny, tmp_path, plan):
    given, server = booted(engine, tiny, tmp_path, plan, reload=True)
    assert matches(given, usual)
    assert given["adopted"] != []
    assert [c.outcome for c in server.consumers] == [Outcome.LOADED] * 2


# Never worse than without.


def test_without_an_agent_the_engine_loads_from_the_origin(engine, usual, tiny, tmp_path):
    model = prepare(
        tmp_path / "llm", tiny, tmp_path / "none", fallback="origin", origin=f"file://{tiny}"
    )
    assert matches(engine.run(model=str(model), load_format="warmline"), usual)


def test_without_an_agent_the_engine_fails_with_the_reason(engine, tiny, tmp_path):
    model = prepare(tmp_path / "llm", tiny, tmp_path / "none")
    given = engine.run(model=str(model), load_format="warmline")
    assert "no agent answers" in given["error"]


def test_a_pull_that_fails_half_way_ends_at_the_origin(engine, usual, tiny, tmp_path):
    with served(tiny) as node, opened(node.gate("llm", SHARD, 0)), host(node) as here:
        model = prepare(
            tmp_path / "llm", tiny, here.path, fallback="origin", origin=f"file://{tiny}"
        )
        engine.start(model=str(model), load_format="warmline")
        with here.server._changed:
            assert here.server._changed.wait_for(lambda: here.server._consumers, 60)
        here.pull.transfer().fail(IntegrityError("a digest was wrong twice"))
        assert matches(engine.finish(), usual)
        (consumer,) = here.server.consumers
        assert (consumer.outcome, consumer.reason) == (Outcome.ORIGIN, "a digest was wrong twice")


def test_wrong_bytes_from_the_node_never_reach_the_model(engine, usual, tiny, tmp_path):
    with served(tiny) as node:
        node.corrupt("llm", SHARD, chunk=0, sends=99)
        with host(node) as here:
            model = prepare(
                tmp_path / "llm", tiny, here.path, fallback="origin", origin=f"file://{tiny}"
            )
            assert matches(engine.run(model=str(model), load_format="warmline"), usual)
            assert here.server.consumers[0].outcome is Outcome.ORIGIN


def test_an_agent_that_is_killed_during_the_load_ends_at_the_origin(engine, usual, tiny, tmp_path):
    with (
        served(tiny) as node,
        opened(node.gate("llm", SHARD, 0)),
        agent_process(node, tmp_path / "handover") as (agent, path),
    ):
        model = prepare(tmp_path / "llm", tiny, path, fallback="origin", origin=f"file://{tiny}")
        engine.start(model=str(model), load_format="warmline")
        assert agent.stdout.readline() == "attached\n"
        agent.kill()
        assert matches(engine.finish(), usual)
        assert "llm is loaded from its origin: the agent has gone" in engine.log
