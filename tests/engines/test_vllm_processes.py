"""Tier three: real vLLM as people run it, in processes of its own."""

import json
import os
import socket
import subprocess
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest

from benchmarks.node import REPOSITORY
from cache_protocol.plans import parse_plan
from replica_agent.handover.messages import Outcome
from tests.engines.engine import Engine, environment, prepare, served
from tests.engines.prompts import PROMPTS, TOKENS
from tests.fakes.handover import host
from tests.integration.programs import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
LIMIT = 300.0  # seconds in which a server on a busy machine comes up


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two ranks want two cores")
def test_two_ranks_load_from_one_mapping_and_then_adopt_a_shard_each(vllm_python, tiny, tmp_path):
    log = tmp_path / "log"
    with served(tiny) as node, Engine(vllm_python, log, "tests.engines.parallel") as ranks:
        with host(node) as here:
            first = ranks.run(**booted(here, tiny, tmp_path / "first"))
            consumers = here.server.consumers
            plans = [parse_plan(sent.document) for sent in here.server.plans]
        assert sorted(c.rank for c in consumers) == [0, 1]
        assert [(c.peers, c.outcome) for c in consumers] == [(2, Outcome.LOADED)] * 2
        assert pulled(node) == sum(len(content) for content in node.models["llm"].values())
        with host(node, plans={"llm": plans}) as here:
            second = ranks.run(**booted(here, tiny, tmp_path / "second"))
            consumers = {c.rank: c.adopted for c in here.server.consumers}
        usual = ranks.run(model=str(tiny), load_format="auto")
    for given in (first, second):
        assert (given["digests"], given["tokens"]) == (usual["digests"], usual["tokens"])
    assert consumers == {p.key.rank: sum(x.size for x in p.parameters) for p in plans}
    # On a CPU vLLM copies what it packs, which is most: then the memory is given back.
    assert second["adopted"] == [[], []]


def booted(here, tiny, directory):
    """Return the order to load what an agent hands over."""
    directory.mkdir()
    return {"model": str(prepare(directory / "llm", tiny, here.path)), "load_format": "warmline"}


def pulled(node):
    return sum(seen.span.size for seen in node.requests("files") if seen.span)


@contextmanager
def serving(vllm_python, server, tmp_path, *flags):
    """Boot ``vllm serve`` of the model ``llm``; yield the process and its port."""
    port = _free_port()
    boot = [vllm_python, "-m", "replica_agent", "boot", "--pipeline", "voice", *flags, "--"]
    engine = [vllm_python.parent / "vllm", "serve", "{llm}", "--load-format", "warmline"]
    options = "--enforce-eager --max-model-len 64 --max-num-seqs 4 --max-num-batched-tokens 64"
    env = environment(
        REPLICA_AGENT_SERVER=server,
        REPLICA_AGENT_STATE_DIR=str(tmp_path / "state"),
        PATH=f"{vllm_python.parent}:{os.environ['PATH']}",
    )
    log = tmp_path / "log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*boot, *engine, *options.split(), "--port", str(port), "--served-model-name", "llm"],
            cwd=REPOSITORY,
            env=env,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        try:
            yield process, port, log
        finally:
            process.terminate()
            process.wait(60)


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def completion(port):
    """Return what the served model makes of the first prompt, as token ids."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    body = {
        "model": "llm",
        "prompt": PROMPTS[0],
        "max_tokens": TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "return_token_ids": True,
    }
    try:
        connection.request(
            "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        answer = json.loads(connection.getresponse().read())
    finally:
        connection.close()
    return answer["choices"][0]["token_ids"]


def report(process, path, log):
    """Wait for the report of a boot and return it."""

    def there():
        assert process.poll() is None, log.read_text()[-4000:]
        return path.exists() and path.read_text().endswith("}\n")

    until(there, LIMIT)
    return json.loads(path.read_text())


def test_a_served_model_answers_as_it_does_with_the_default_loader(
    vllm_python, usual, tiny, tmp_path
):
    told = tmp_path / "report.json"
    with (
        served(tiny) as node,
        serving(vllm_python, node.url, tmp_path, "--report", told) as (process, port, log),
    ):
        boot = report(process, told, log)
        assert completion(port) == usual["tokens"][0]
    assert boot["ok"]
    assert boot["source"] == "cache"
    assert {"manifest", "pull", "engine-import", "load"} <= {p["name"] for p in boot["phases"]}
    assert boot["verified_bytes"] == sum(len(c) for c in node.models["llm"].values())


def test_with_the_server_dead_a_served_model_answers_from_its_origin(
    vllm_python, usual, tiny, tmp_path
):
    told = tmp_path / "report.json"
    flags = ("--report", told, "--origin", f"llm=file://{tiny}")
    dead = f"http://127.0.0.1:{_free_port()}"
    with serving(vllm_python, dead, tmp_path, *flags) as (process, port, log):
        boot = report(process, told, log)
        assert completion(port) == usual["tokens"][0]
    assert boot["source"] == "origin"
    assert "does not answer" in boot["reason"]
