"""What is laid out is not what this engine reads: it costs time, and never a wrong weight."""

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cache_protocol.plans import parse_plan
from replica_agent.engines import planned, vllm_plan
from replica_agent.engines.planned import memory_of
from replica_agent.handover import client
from replica_agent.handover.client import attach
from replica_agent.plans.plain import plain
from tests.fakes.handover import host
from tests.fakes.node import FakeNode, opened
from tests.fakes.sharded import (
    FILE,
    LIMIT,
    WEIGHTS,
    Sharded,
    checkpoint,
    ended,
    is_fed,
    load,
    looks_at_shard,
    same,
    traced,
)


def aside():
    model = Sharded()
    model.aside = [model.gate_up.data[3]]
    return model


class AllAtOnce(Sharded):
    def load_weights(self, weights):
        weights = dict(weights)
        if len(weights) != len(WEIGHTS):
            raise KeyError("not all weights are there")
        return super().load_weights(iter(weights.items()))


class Moving(Sharded):
    def load_weights(self, weights):
        loaded = super().load_weights(weights)
        if self.fed_for_real:
            self.down.data = self.down.data.clone()
        return loaded


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
    with host(node, plans={"llm": plans}) as here:
        model = load(vllm, tmp_path, here, build=aside)
        assert is_fed(here, model)
        assert torch.equal(model.aside[0], model.gate_up[3])
        assert "somebody else holds the memory of 1 parameters" in here.server.remarks[0]


def test_a_model_that_wants_all_its_weights_at_once_gets_them(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        assert is_fed(here, load(vllm, tmp_path, here, build=AllAtOnce))
        assert "does not take the rest alone" in here.server.remarks[0]


def test_a_parameter_that_a_load_moves_is_no_longer_counted_on(vllm, tmp_path, node, plans):
    with host(node, plans={"llm": plans}) as here:
        assert is_fed(here, load(vllm, tmp_path, here, build=Moving))
        assert "1 parameters were moved, down one of them" in here.server.remarks[0]


@pytest.mark.parametrize("build", [aside, AllAtOnce, Moving])
def test_an_engine_has_let_go_of_the_memory_before_it_says_that_it_refuses(
    vllm, tmp_path, node, plans, monkeypatch, build
):
    mapped = []
    refuse = client.Attached.refuse

    def watched(*args):
        mapped.append("memfd:llm-rank" in Path("/proc/self/maps").read_text())
        return refuse(*args)

    monkeypatch.setattr(client.Attached, "refuse", watched)
    with host(node, plans={"llm": plans}) as here:
        here.pull.wait()  # the agent, which is this process, has unmapped it then
        assert is_fed(here, load(vllm, tmp_path, here, build=build))
    assert mapped == [False]  # from then on the agent counts it as room for plain files


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


# What is not as it was when it was traced.


def with_another_header(content):
    """Return a checkpoint of the same size, in which two tensors have each other's name."""
    size = int.from_bytes(content[:8], "little")
    names = json.loads(content[8 : 8 + size])
    names["gate"], names["embedding"] = names["embedding"], names["gate"]
    return (
        content[:8]
        + json.dumps(names, separators=(",", ":")).encode().ljust(size)
        + content[8:][size:]
    )


@pytest.fixture
def changing():
    """Return a node whose file comes again with another header, for each pull that begins."""
    saved = safetensors.torch.save(WEIGHTS)
    with FakeNode({"llm": {FILE: saved}}, know_sha256=False) as node:

        def pulled_again():
            node.models["llm"][FILE] = with_another_header(saved)

        node.before_verdict = pulled_again
        yield node


OTHER = WEIGHTS | {"gate": WEIGHTS["embedding"], "embedding": WEIGHTS["gate"]}


def test_a_file_that_came_again_with_another_header_is_not_adopted(vllm, tmp_path, changing):
    pulled_again, changing.before_verdict = changing.before_verdict, None
    plans = traced(vllm, tmp_path, changing)
    changing.before_verdict = pulled_again
    with host(changing, plans={"llm": plans}) as here:
        model = load(vllm, tmp_path, here)
        assert same(model, 0, OTHER)
        assert looks_at_shard(model) == set()
        assert "came again with another header" in here.server.remarks[0]
        ended(here, 2)
        assert parse_plan(here.server.plans[0].document).pieces != plans[0].pieces


def test_the_plan_that_is_left_is_of_the_header_that_came_last(vllm, tmp_path, changing):
    with host(changing) as here:
        assert same(load(vllm, tmp_path, here), 0, OTHER)
        ended(here, 1)
        first = parse_plan(here.server.plans[0].document)
    changing.before_verdict = None
    assert traced(vllm, tmp_path, changing)[0].pieces == first.pieces


# A plan that is right, and of no use: the next replica is not to lay anything out by it.


@pytest.mark.parametrize("build", [aside, AllAtOnce, Moving])
def test_an_engine_that_cannot_use_its_own_plan_leaves_one_that_lays_nothing_out(
    vllm, tmp_path, node, plans, build
):
    with host(node, plans={"llm": plans}) as here:
        assert is_fed(here, load(vllm, tmp_path, here, build=build))
        assert parse_plan(here.server.plans[0].document) == plain(plans[0].key)


def test_what_cannot_be_mapped_here_may_be_of_use_elsewhere(
    vllm, tmp_path, node, plans, monkeypatch
):
    def failing(_):
        raise OSError("no address space is left")

    monkeypatch.setattr(client.Shard, "map", failing)
    with host(node, plans={"llm": plans}) as here:
        assert is_fed(here, load(vllm, tmp_path, here))
        assert parse_plan(here.server.plans[0].document) == plans[0]


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (lambda memory: memory.to("meta"), "its memory on meta"),
        (lambda memory: memory[:-1], "bytes of memory where the plan lays out"),
    ],
    ids=["elsewhere", "too short"],
)
def test_memory_that_is_wrong_on_this_host_may_be_right_on_another(
    vllm, tmp_path, node, plans, monkeypatch, other, said
):
    monkeypatch.setattr(planned, "memory_of", lambda shard: other(memory_of(shard)))
    with host(node, plans={"llm": plans}) as here:
        assert is_fed(here, load(vllm, tmp_path, here))
        assert said in here.server.remarks[0]
        assert parse_plan(here.server.plans[0].document) == plans[0]


def on_a_device(_):
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("ask_for", [torch.empty, bytearray, on_a_device])
def test_memory_that_runs_out_while_the_rest_is_fed_may_suffice_elsewhere(
    vllm, tmp_path, node, plans, ask_for
):
    class Short(Sharded):
        def load_weights(self, weights):
            loaded = super().load_weights(weights)
            if self.fed_for_real == ["norm"]:
                ask_for(2**60)
            return loaded

    with host(node, plans={"llm": plans}) as here:
        assert is_fed(here, load(vllm, tmp_path, here, build=Short))
        assert "memory ran out while the rest was fed" in here.server.remarks[0]
        assert parse_plan(here.server.plans[0].document) == plans[0]
