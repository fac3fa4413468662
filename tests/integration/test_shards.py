"""Ranks of an engine and the agent that laid their parameters out, as real processes."""

import hashlib
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.node import Node
from cache_protocol.manifest import Manifest
from cache_protocol.plans import Plan, check_files, checkpoint_digest, dump_plan
from replica_agent.boot.doctor import examine
from replica_agent.client import ControlClient
from replica_agent.core.schedule import EXTENT
from replica_agent.settings import Settings
from tests.fakes import planned
from tests.fakes.agent_process import agent_process
from tests.fakes.boots import PATIENT, REPOSITORY, Booting, until
from tests.fakes.handover import host
from tests.fakes.node import FakeNode, opened
from tests.fakes.rank_process import rank_process
from tests.fakes.speaking_process import says
from tests.integration.content import write

CONTENT = planned.checkpoint(layers=9, size=1024)  # more chunks than one lane asks for at a time
PLANS = planned.plans(CONTENT)
MIB = 2**20


@pytest.fixture
def there():
    with FakeNode({"llm": {"config.json": b"{}", planned.PATH: CONTENT}}) as node:
        for plan in PLANS:
            node.plans["llm", plan.key.digest] = dump_plan(plan)
        yield node


def sha256(plan: Plan) -> str:
    return hashlib.sha256(planned.laid_out(CONTENT, plan)).hexdigest()


def test_each_byte_crosses_the_network_once_for_two_ranks_that_hold_half_of_it_each(there):
    with (
        host(there, plans={"llm": PLANS}) as here,
        rank_process(here.path, 0, peers=2) as one,
        rank_process(here.path, 1, peers=2) as other,
    ):
        for rank, plan in zip((one, other), PLANS, strict=True):
            assert says(rank) == {"plan": plan.fingerprint}
            loaded = says(rank)
            assert loaded["sha256"] == sha256(plan)
            assert loaded["grown"] < plan.size + 16 * MIB  # what Python takes for the work
        assert here.server.wait_consumed(20)
        asked = sum(seen.span.size for seen in there.requests("files") if seen.span)
        assert asked == len(CONTENT) + len(b"{}")


def test_a_rank_keeps_its_shard_when_the_agent_is_killed_after_the_load(there, tmp_path):
    with agent_process(there, tmp_path / "h") as (agent, path), rank_process(path, 1) as rank:
        says(rank)
        assert says(rank)["sha256"] == sha256(PLANS[1])
        agent.kill()
        agent.wait()
        rank.stdin.close()
        assert says(rank) == {"sha256": sha256(PLANS[1])}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_rank_learns_at_once_that_the_agent_ended_while_its_shard_arrived(there, tmp_path, how):
    with (
        opened(there.gate("llm", planned.PATH, EXTENT)),
        agent_process(there, tmp_path / "h") as (agent, path),
        rank_process(path, 0) as rank,
    ):
        assert says(rank) == {"plan": PLANS[0].fingerprint}
        agent.send_signal(how)
        assert says(rank) == {"failed": "server-unreachable"}
        assert rank.wait(20) == 0


def test_a_rank_that_is_killed_takes_nothing_along_and_its_next_life_has_the_same_shard(there):
    with host(there, plans={"llm": PLANS}) as here:
        with rank_process(here.path, 0) as rank:
            says(rank)
            says(rank)
            rank.kill()
            rank.wait()
        with rank_process(here.path, 0) as rank:
            assert says(rank) == {"plan": PLANS[0].fingerprint}
            assert says(rank)["sha256"] == sha256(PLANS[0])


# With a real node.


def test_what_one_boot_leaves_with_the_node_the_next_one_follows(node, pipeline, scratch):
    files = {"config.json": b"{}", planned.PATH: planned.checkpoint()}
    node.put(pipeline, {"m": f"file://{write(scratch / 'source', files)}"})
    node.warm(pipeline)
    client = ControlClient(node.control, node.token)
    plan = of_one_rank(client.manifest(pipeline))
    document = scratch / "plan.json"
    document.write_bytes(dump_plan(plan))
    packages = vllm(scratch)

    def boot(*engine):
        environment = {"PYTHONPATH": f"{REPOSITORY}:{packages}"}
        started = Booting(
            scratch / f"boot{len(engine)}", node.control, pipeline=pipeline, token=node.token,
            handover=True, engine=engine, env=environment, agent=PATIENT,
        )  # fmt: skip
        with started:
            if "--stay" in engine:
                until(lambda: client.listed_plans(pipeline, "m"))
                started.signal(signal.SIGTERM)
            assert started.finished() == 0, started.log.read_text()
        return started

    boot("--adopts", "--send-plan", document, "--stay")
    assert [each.key for each in client.listed_plans(pipeline, "m")] == [plan.key]
    second = boot("--adopts")
    laid_out = hashlib.sha256(planned.laid_out(files[planned.PATH], plan)).hexdigest()
    assert second.event("loaded")["got"] == {"shard": laid_out, "plan": plan.fingerprint}
    assert "m: laid out in host memory" in second.report()["notes"][0]
    client.close()
    said = "m: laid out for 1 rank, as vllm 0.32.0 (tp1) reads it, on cpu"
    assert foreseen(node, pipeline, scratch) == said


def vllm(directory: Path) -> Path:
    """Make what says that vLLM is installed; return its place."""
    packages = directory / "lib/python3.11/site-packages"
    package = packages / "vllm-0.32.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0\n")
    return packages


def foreseen(node: Node, pipeline: str, environment: Path) -> str:
    """Return what the doctor says of plans for an engine of ``environment``."""
    (environment / "bin").mkdir()
    python = environment / "bin/python"
    python.symlink_to(sys.executable)
    command = [str(python), "-m", "vllm", "--load-format=warmline"]
    diagnosis = examine(Settings(node.control, token=node.token), pipeline, command)
    (found,) = [each for each in diagnosis.findings if each.question == "plans"]
    return found.answer


def of_one_rank(manifest: Manifest) -> Plan:
    model = manifest.models["m"]
    checkpoint = checkpoint_digest(model, manifest.generation)
    (plan,) = planned.plans(planned.checkpoint(), ranks=1, checkpoint=checkpoint)
    check_files(plan, [(file.path, file.size) for file in model.files])
    return plan
