"""A boot against a real node, with real origins behind both, and with each of them taken away."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from benchmarks.node import REPOSITORY, Node, running_node
from cache_protocol.digests import CHUNK_SIZE
from replica_agent.handover.place import Origin, read_place
from tests.fakes.boots import Booting, free_port
from tests.fakes.hub import Hub
from tests.fakes.swift import Swift, require_swift, swift
from tests.fakes.weights import safetensors
from tests.integration.conftest import Hold
from tests.integration.content import digests, tree, write
from tests.integration.programs import agent_environment, answer, cache_of, cache_server, until

# The real library, in a process that knows nothing of us.
_SAFETENSORS = """
import hashlib, json, sys
from safetensors import safe_open
with safe_open(sys.argv[1] + "/model.safetensors", "pt") as file:
    got = {n: hashlib.sha256(file.get_tensor(n).numpy().tobytes()).hexdigest() for n in file.keys()}
json.dump(got, open(sys.argv[2], "w"))
"""


def got(boot: Booting) -> dict[str, str]:
    """What the engine read, as ``digests`` says it."""
    return {f"m/{path}": sha for path, sha in boot.event("loaded")["got"].items()}


def booting(node: Node, scratch: Path, pipeline: str, *flags: object, **more: Any) -> Booting:
    return Booting(
        scratch / "boot", node.control, *flags, pipeline=pipeline, token=node.token, **more
    )


def test_an_engine_is_told_which_files_of_its_repository_are_the_models(
    node: Node, hub: Hub, pipeline: str, repo: str, scratch: Path
) -> None:
    commit = hub.commit(
        repo, {"config.json": b"{}", "model.safetensors": safetensors(1), "x.py": b"import os"}
    )
    node.put(pipeline, {"m": f"hf://{repo}"})
    with booting(node, scratch, pipeline, handover=True, engine=["--stay"]) as boot:
        boot.event("loaded")
        (place,) = (scratch / "boot/state").rglob(".warmline.json")
        told = read_place(place.parent)
    assert told is not None
    assert told.origin == Origin(f"hf://{repo}", commit, ("config.json", "model.safetensors"))


def test_a_cold_pipeline_is_booted_while_it_is_being_filled(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold, scratch: Path
) -> None:
    files = {"config.json": b"{}", "model.safetensors": safetensors(5)}
    hub.commit(repo, files)
    gate = hold(f"{repo}/", at="cdn", chunk=4)
    node.put(pipeline, {"m": f"hf://{repo}"})
    with booting(node, scratch, pipeline, handover=True) as boot:
        assert boot.event("start")["found"] == ["config.json"]
        boot.event("attached")
        gate.set()
        assert got(boot) == digests(files)
        assert boot.finished() == 0


def test_a_boot_is_posted_and_shown(node: Node, pipeline: str, scratch: Path) -> None:
    source = write(scratch / "source", {"config.json": b"{}", "a.safetensors": safetensors(1)})
    node.put(pipeline, {"m": f"file://{source}"})
    with booting(node, scratch, pipeline, handover=True) as boot:
        assert boot.finished() == 0
    reports = node.call("GET", f"/v1/boots?pipeline={pipeline}")["boots"]
    report = reports[0]
    assert report.items() >= boot.report().items()
    assert report["tenant"] == "default"
    assert report["received"]
    shown = cache_server(
        *["boots", pipeline, "--server", node.control], CACHE_SERVER_ADMIN_TOKEN=node.token
    )
    assert pipeline in shown.stdout
    assert "cache" in shown.stdout


def test_the_safetensors_library_reads_the_files_in_a_fresh_process(
    node: Node, pipeline: str, minilm: Path, scratch: Path
) -> None:
    node.put(pipeline, {"m": f"file://{minilm}"})
    for flags in ([], ["--no-tmpfs"]):
        said = scratch / "tensors.json"
        command = [sys.executable, "-c", _SAFETENSORS, "{model}", said]
        with booting(node, scratch, pipeline, *flags, command=command) as boot:
            assert boot.finished() == 0, boot.words()
        with safe_open(minilm / "model.safetensors", "pt") as file:
            assert json.loads(said.read_text()).keys() == set(file.keys())


# Around the cache.


@pytest.fixture
def dead() -> str:
    """The URL of a node that is not there."""
    return f"http://127.0.0.1:{free_port()}"


def test_with_the_node_dead_a_model_comes_from_the_hub_with_the_replicas_own_token(
    dead: str, hub: Hub, repo: str, scratch: Path
) -> None:
    files = {"config.json": b"{}", "model.safetensors": safetensors(2)}
    hub.commit(repo, files)
    hub.repositories[repo].private = True
    env = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(scratch / "hf"), "HF_TOKEN": "hf_valid"}
    flag = f"--origin=m=hf://{repo}"
    with Booting(scratch / "boot", dead, flag, env=env, handover=True) as boot:
        assert boot.finished() == 0, boot.words()
    assert got(boot) == digests(files)
    report = boot.report()
    assert (report["ok"], report["source"]) == (True, "origin")
    assert "does not answer" in report["reason"]


def test_an_origin_that_refuses_too_is_said_with_its_own_code(
    dead: str, hub: Hub, repo: str, scratch: Path
) -> None:
    hub.commit(repo, {"config.json": b"{}"})
    hub.repositories[repo].private = True
    env = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(scratch / "hf")}
    with Booting(scratch / "boot", dead, f"--origin=m=hf://{repo}", env=env) as boot:
        assert boot.finished() == 4, boot.words()
    assert not boot.report()["ok"]
    assert not boot.events()


def test_with_the_node_dead_pickles_and_code_stay_at_the_hub(
    dead: str, hub: Hub, repo: str, scratch: Path
) -> None:
    files = {"config.json": b"{}", "model.safetensors": safetensors(1)}
    hub.commit(repo, {**files, "pytorch_model.bin": b"p" * 99, "modeling.py": b"import os"})
    env = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(scratch / "hf")}
    with Booting(scratch / "boot", dead, f"--origin=m=hf://{repo}", env=env) as boot:
        assert boot.finished() == 0, boot.words()
    assert got(boot) == digests(files)
    assert not hub.sent[f"{repo}/pytorch_model.bin"]
    assert not hub.sent[f"{repo}/modeling.py"]


def test_with_the_node_dead_a_repository_of_pickles_names_the_switch_that_takes_them(
    dead: str, hub: Hub, repo: str, scratch: Path
) -> None:
    files = {"config.json": b"{}", "pytorch_model.bin": b"p" * 99}
    hub.commit(repo, files)
    env = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(scratch / "hf")}
    flags = [f"--origin=m=hf://{repo}"]
    with Booting(scratch / "boot", dead, *flags, env=env) as boot:
        assert boot.finished() == 1, boot.words()
        assert "say --allow-pickle" in boot.words()
    assert not hub.sent[f"{repo}/pytorch_model.bin"]
    with Booting(scratch / "again", dead, *flags, "--allow-pickle", env=env) as boot:
        assert boot.finished() == 0, boot.words()
    assert got(boot) == digests(files)


def test_with_node_and_hub_dead_a_model_comes_from_what_the_library_has(
    dead: str, hub: Hub, repo: str, scratch: Path
) -> None:
    files = {"config.json": b"{}", "model.safetensors": safetensors(1)}
    hub.commit(repo, files)
    env = {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(scratch / "hf")}
    for name in ("boot", "again"):
        with Booting(scratch / name, dead, f"--origin=m=hf://{repo}", env=env) as boot:
            assert boot.finished() == 0, boot.words()
        assert got(boot) == digests(files)
        env["HF_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"


@pytest.fixture
def s3(scratch: Path) -> Iterator[Swift]:
    require_swift()
    with swift(scratch / "swift") as s3:
        yield s3


def test_with_the_node_dead_a_model_comes_from_a_bucket_and_leaves_nothing(
    dead: str, s3: Swift, scratch: Path
) -> None:
    files = {"config.json": b"{}", "sub/model.safetensors": safetensors(2)}
    client = s3.client()
    client.create_bucket(Bucket="models")
    for path, data in {**files, "sub/modeling.py": b"import os"}.items():
        client.put_object(Bucket="models", Key=f"llm/{path}", Body=data)
    client.close()
    env = {
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret,
        "AWS_DEFAULT_REGION": s3.region,
    }
    with Booting(scratch / "boot", dead, "--origin=m=s3://models/llm", env=env) as boot:
        assert boot.finished() == 0, boot.words()
    assert got(boot) == digests(files)
    assert tree(scratch / "boot/state") == {}


def test_a_node_that_dies_in_the_middle_is_given_up_after_some_patience(
    hub: Hub, pipeline: str, repo: str, hold: Hold, scratch: Path
) -> None:
    files = {"config.json": b"{}", "model.safetensors": safetensors(6)}
    origin = write(scratch / "origin", files)
    hub.commit(repo, files)
    hold(f"{repo}/", at="cdn", chunk=5)
    env = {"HF_ENDPOINT": hub.endpoint}
    with running_node(scratch / "node", env=env) as node:
        node.put(pipeline, {"m": f"hf://{repo}"})
        flags = ["--patience=0.5", f"--origin=m=file://{origin}"]
        with booting(node, scratch, pipeline, *flags) as boot:
            until(lambda: cache_of(node, pipeline)["filled"] >= 3 * CHUNK_SIZE)
            os.kill(node.pid, signal.SIGKILL)
            assert boot.finished() == 0, boot.words()
    assert got(boot) == digests(files)
    assert boot.report()["source"] == "origin"


# The doctor.


def doctor(node: Node, pipeline: str, *more: str, **env: str) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "replica_agent", "doctor", "--pipeline", pipeline, "--json", *more],
        env={**agent_environment(node), **env},
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        timeout=40,
    )
    return done.returncode, json.loads(done.stdout)


def finding(diagnosis: dict[str, Any], question: str) -> dict[str, Any]:
    return next(f for f in diagnosis["findings"] if f["question"] == question)


def test_the_doctor_says_yes_and_starts_nothing(node: Node, pipeline: str, scratch: Path) -> None:
    source = write(scratch / "source", {"a.safetensors": safetensors(1)})
    node.put(pipeline, {"m": f"file://{source}"})
    code, diagnosis = doctor(node, pipeline, "--", "python", "serve.py")
    assert (code, diagnosis["cache"], diagnosis["hand-over"]) == (0, True, False)
    assert "as files" in diagnosis["verdict"]
    assert cache_of(node, pipeline)["state"] == "cold"


def test_the_doctor_names_what_is_wrong(node: Node, pipeline: str, scratch: Path) -> None:
    state = scratch / "state"
    (state / "models").mkdir(parents=True)
    (state / "models").chmod(0o755)
    env = {"REPLICA_AGENT_STATE_DIR": str(state), "VLLM_PLUGINS": "other"}
    code, diagnosis = doctor(node, pipeline, **env)
    assert code == 1
    assert "no pipeline" in finding(diagnosis, "node")["answer"]
    assert "ours alone" in finding(diagnosis, "directory")["answer"]
    assert "add warmline" in finding(diagnosis, "allow-list")["answer"]
    assert "vLLM is not installed" in finding(diagnosis, "plug-in")["answer"]
    assert "--origin" in finding(diagnosis, "origin")["answer"]
    assert "not at all" in diagnosis["verdict"]


def test_the_doctor_notices_a_token_without_rights(node: Node, pipeline: str) -> None:
    code, diagnosis = doctor(node, pipeline, REPLICA_AGENT_TOKEN="wrong")
    assert code == 1
    assert "token" in finding(diagnosis, "node")["answer"]


def test_the_doctor_notices_a_command_that_is_not_there(node: Node, pipeline: str) -> None:
    node.put(pipeline, {"m": "file:///nowhere"})
    code, diagnosis = doctor(node, pipeline, "--", "no-such-engine")
    assert (code, diagnosis["cache"], diagnosis["command"]) == (1, True, False)
    assert "no-such-engine" in finding(diagnosis, "command")["answer"]
    assert "cannot be started" in diagnosis["verdict"]


# What the node keeps.


def test_a_report_with_a_wrong_field_is_refused_by_name(node: Node, pipeline: str) -> None:
    status, problem = answer(node, "POST", "/v1/boots", {"pipeline": pipeline, "ok": "perhaps"})
    assert (status, problem["code"]) == (422, "malformed")
    assert {"ok", "host", "phases"} <= {e["field"] for e in problem["errors"]}
