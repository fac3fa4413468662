"""``replica-agent boot`` with the real thing behind it: transformers, and vLLM's own server."""

import json
import os
import subprocess
import sys
from http.client import HTTPConnection

import pytest

from benchmarks.node import REPOSITORY, clean_environment, free_port, running_node
from tests.engines.prompts import PROMPTS, TOKENS
from tests.fakes.boots import Booting

_TRANSFORMERS = """
import hashlib, json, sys
from transformers import AutoModelForCausalLM
state = AutoModelForCausalLM.from_pretrained(sys.argv[1]).state_dict()
got = {n: hashlib.sha256(t.view(-1).view(dtype=__import__("torch").uint8).numpy()).hexdigest()
       for n, t in state.items()}
json.dump(got, open(sys.argv[2], "w"))
"""


@pytest.fixture(scope="module")
def node(tiny, tmp_path_factory):
    """A node that is warm with the tiny model."""
    with running_node(tmp_path_factory.mktemp("node") / "root") as node:
        node.put("chat", {"llm": f"file://{tiny}"})
        node.warm("chat")
        yield node


def booting(node, scratch, vllm_python, *flags, command, server=None):
    path = f"{vllm_python.parent}:{os.environ['PATH']}"
    env = {"PATH": path, "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}
    where = server or node.control
    more = {"pipeline": "chat", "token": node.token, "env": env, "command": command}
    more["python"] = vllm_python  # the agent tells by its own packages which engine there is
    return Booting(scratch, where, *flags, **more)


def read_with_transformers(node, scratch, vllm_python, directory, *flags):
    said = scratch / "tensors.json"
    command = [vllm_python, "-c", _TRANSFORMERS, directory, said]
    with booting(node, scratch, vllm_python, *flags, command=command) as boot:
        assert boot.finished() == 0, boot.words()
    return json.loads(said.read_text())


@pytest.mark.parametrize("flags", [[], ["--no-tmpfs"]], ids=["tmpfs", "memfd"])
def test_transformers_reads_the_files_of_a_boot(node, tiny, tmp_path, vllm_python, flags):
    got = read_with_transformers(node, tmp_path / "a", vllm_python, "{model}", *flags)
    assert got == read_with_transformers(node, tmp_path / "b", vllm_python, tiny)


def test_the_doctor_finds_our_plug_in_where_the_command_would_run(node, tmp_path, vllm_python):
    vllm = vllm_python.parent / "vllm"
    words = ["doctor", "--pipeline=chat", "--", vllm, "serve", "{model}", "--load-format=warmline"]
    done = subprocess.run(
        [sys.executable, "-m", "replica_agent", *map(str, words)],
        cwd=REPOSITORY,
        env=clean_environment(
            REPLICA_AGENT_SERVER=node.control,
            REPLICA_AGENT_TOKEN=node.token,
            REPLICA_AGENT_STATE_DIR=str(tmp_path),
        ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "a boot would use the cache, weights handed over in memory" in done.stdout


def completion(port):
    """Return what an engine makes of the first prompt, as token ids."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    words = {"model": "tiny", "prompt": PROMPTS[0], "max_tokens": TOKENS, "temperature": 0}
    words |= {"ignore_eos": True, "return_token_ids": True}
    try:
        body = json.dumps(words)
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())["choices"][0]["token_ids"]
    finally:
        connection.close()


def serve(node, scratch, vllm_python, *, server=None, extra=(), flags=()):
    """Boot ``vllm serve``; return its report and the tokens that it answered with."""
    port = free_port()
    command = ["vllm", "serve", "{model}", "--load-format", "warmline", f"--port={port}", *extra]
    command += ["--served-model-name=tiny", "--enforce-eager", "--dtype=bfloat16"]
    with booting(node, scratch, vllm_python, *flags, command=command, server=server) as boot:
        report = boot.report(100)
        assert report["ok"], boot.words()
        tokens = completion(port)
        boot.process.terminate()
        assert boot.finished() == 0
    return report, tokens


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_vllm_serves_the_same_with_a_hand_over_with_a_plan_and_without_a_cache(
    node, tiny, tmp_path, vllm_python
):
    handed, tokens = serve(node, tmp_path / "a", vllm_python, flags=["--warm-up"])
    assert handed["source"] == "cache"
    assert handed["verified_bytes"] == sum(path.stat().st_size for path in tiny.iterdir())
    names = {p["name"] for p in handed["phases"]}
    assert names >= {"manifest", "pull", "engine-import", "weight-wait", "load"}
    assert names >= {"warm-up", "first-token"}
    adopted, same = serve(node, tmp_path / "c", vllm_python)
    assert any("laid out in host memory as vllm" in note for note in adopted["notes"])
    assert any("without a copy" in note for note in adopted["notes"]), adopted["notes"]
    assert same == tokens
    # From the origin the weights come with vLLM's default loader.
    dead = f"http://127.0.0.1:{free_port()}"
    around, usual = serve(
        node, tmp_path / "b", vllm_python, server=dead, flags=[f"--origin=llm=file://{tiny}"]
    )
    assert around["source"] == "origin"
    assert "does not answer" in around["reason"]
    assert tokens == usual
