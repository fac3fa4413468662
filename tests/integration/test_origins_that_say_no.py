"""Gated, private and missing: the origin's own reason reaches the operator and the replica."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.node import Node, running_node
from tests.fakes.hub import Hub
from tests.integration.content import chunks, digests
from tests.integration.programs import last_error, pull, replica

DENIED, FAILED = 4, 1  # exit codes of ``replica-agent --help``
TOLD_WITHIN = 1.0  # seconds after the manifest request


@pytest.fixture(scope="module")
def trusted_node(module_scratch: Path, hub: Hub) -> Iterator[Node]:
    """A node whose operator has a token of the hub."""
    env = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_valid"}
    with running_node(module_scratch / "trusted", env=env) as node:
        yield node


def refused(
    node: Node, pipeline: str, scratch: Path
) -> tuple[subprocess.CompletedProcess[str], float]:
    """Return how a pull ended, and the seconds from the manifest request to that end."""
    done = pull(node, pipeline, scratch / "out", "--report", scratch / "report.json")
    report = json.loads((scratch / "report.json").read_text())
    phases = {p["name"]: p["seconds"] for p in report["phases"]}
    assert not report["ok"]
    return done, phases["manifest"] + phases.get("pull", 0.0)


@pytest.mark.parametrize("lock", ["gated", "private"])
def test_the_operators_token_opens_a_locked_repository(
    trusted_node: Node, hub: Hub, pipeline: str, repo: str, lock: str
) -> None:
    files = {"a.dat": chunks(1), "b.txt": b"b"}
    hub.commit(repo, files)
    setattr(hub.repository(repo), lock, True)
    trusted_node.put(pipeline, {"m": f"hf://{repo}"})
    with replica(trusted_node, pipeline) as reader:
        assert reader.finished()["files"] == digests(files)


@pytest.mark.parametrize(
    ("lock", "reason"), [("gated", "restricted"), ("private", "Repository not found")]
)
def test_without_a_token_the_hubs_reason_is_kept_and_no_retry_is_advised(
    node: Node, hub: Hub, pipeline: str, repo: str, lock: str, reason: str
) -> None:
    hub.commit(repo, {"a.dat": chunks(1)})
    setattr(hub.repository(repo), lock, True)
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.call("POST", f"/v1/pipelines/{pipeline}/warm", {})
    error = last_error(node, pipeline)
    assert (error["code"], error["retry"]) == ("origin-denied", "never")
    assert reason in error["detail"]


@pytest.mark.parametrize(
    ("lock", "reason"), [("gated", "restricted"), ("private", "Repository not found")]
)
def test_without_a_token_the_replica_is_told_within_a_second(
    node: Node, hub: Hub, pipeline: str, repo: str, scratch: Path, lock: str, reason: str
) -> None:
    hub.commit(repo, {"a.dat": chunks(1)})
    setattr(hub.repository(repo), lock, True)
    node.put(pipeline, {"m": f"hf://{repo}"})
    done, seconds = refused(node, pipeline, scratch)
    assert done.returncode == DENIED
    assert reason in done.stderr
    assert seconds < TOLD_WITHIN


def test_a_revision_that_the_hub_does_not_have_is_named(
    node: Node, hub: Hub, pipeline: str, repo: str, scratch: Path
) -> None:
    hub.commit(repo, {"a.txt": b"a"})
    node.put(pipeline, {"m": f"hf://{repo}@v9"})
    done, seconds = refused(node, pipeline, scratch)
    assert done.returncode == FAILED
    assert "v9" in done.stderr
    assert seconds < TOLD_WITHIN


def test_a_repository_that_is_missing_to_a_known_user_is_not_found(
    trusted_node: Node, pipeline: str, scratch: Path
) -> None:
    trusted_node.put(pipeline, {"m": "hf://org/nowhere"})
    done, seconds = refused(trusted_node, pipeline, scratch)
    assert (done.returncode, last_error(trusted_node, pipeline)["retry"]) == (FAILED, "never")
    assert "Repository not found" in done.stderr
    assert seconds < TOLD_WITHIN


def test_a_directory_that_is_missing_is_named(node: Node, pipeline: str, scratch: Path) -> None:
    node.put(pipeline, {"m": f"file://{scratch}/nowhere"})
    done, seconds = refused(node, pipeline, scratch)
    assert (done.returncode, last_error(node, pipeline)["code"]) == (FAILED, "origin-not-found")
    assert f"'{scratch}/nowhere' does not exist" in done.stderr
    assert seconds < TOLD_WITHIN


def test_a_secret_that_the_operator_has_not_configured_is_refused_by_name(
    node: Node, hub: Hub, pipeline: str, repo: str
) -> None:
    hub.commit(repo, {"a.txt": b"a"})
    model = {"name": "m", "source": f"hf://{repo}", "credentials": "team-a"}
    node.call("PUT", f"/v1/pipelines/{pipeline}", {"models": [model]})
    error = last_error(node, pipeline)
    assert (error["code"], error["retry"]) == ("malformed", "never")
    assert "team-a" in error["detail"]
