"""Origin to memory and to files, with every byte compared."""

from pathlib import Path

import pytest

from benchmarks.node import Node
from tests.fakes.hub import Hub
from tests.integration.content import chunks, digests, tree, write
from tests.integration.programs import (
    answer,
    cache_of,
    cache_server,
    compare,
    pull,
    replica,
    until,
)


def warm(node: Node, pipeline: str) -> None:
    done = cache_server("warm", pipeline, "--wait", "--root", node.root)
    assert done.returncode == 0, done.stderr


def put(node: Node, pipeline: str, **model: object) -> None:
    node.call("PUT", f"/v1/pipelines/{pipeline}", {"models": [{"name": "m", **model}]})


@pytest.fixture
def at_hub(hub: Hub, repo: str, checkpoint: Path) -> str:
    hub.commit(repo, tree(checkpoint))
    return f"hf://{repo}"


def test_a_repository_of_the_hub_reaches_a_directory_byte_for_byte(
    node: Node, pipeline: str, at_hub: str, checkpoint: Path, scratch: Path
) -> None:
    node.put(pipeline, {"llm": at_hub})
    warm(node, pipeline)
    done = pull(node, pipeline, scratch / "out")
    assert done.returncode == 0, done.stderr
    assert tree(scratch / "out/llm") == tree(checkpoint)


def test_a_repository_of_the_hub_reaches_memory_tensor_for_tensor(
    node: Node, pipeline: str, at_hub: str, checkpoint: Path
) -> None:
    node.put(pipeline, {"llm": at_hub})
    result = compare(node, pipeline, llm=checkpoint)
    assert (result["tensors"] > 0, result["different"]) == (True, [])


def test_real_weights_of_a_directory_reach_a_directory_byte_for_byte(
    node: Node, pipeline: str, minilm: Path, scratch: Path
) -> None:
    node.put(pipeline, {"encoder": f"file://{minilm}"})
    warm(node, pipeline)
    done = pull(node, pipeline, scratch / "out")
    assert done.returncode == 0, done.stderr
    assert tree(scratch / "out/encoder") == tree(minilm)


def test_several_models_of_one_pipeline_reach_memory_side_by_side(
    node: Node, pipeline: str, at_hub: str, minilm: Path, checkpoint: Path
) -> None:
    node.put(pipeline, {"llm": at_hub, "encoder": f"file://{minilm}"})
    result = compare(node, pipeline, llm=checkpoint, encoder=minilm)
    assert (result["tensors"] > 104, result["different"]) == (True, [])


def test_the_commit_resolved_at_registration_is_what_is_pulled_although_the_branch_moves(
    node: Node, hub: Hub, pipeline: str, repo: str
) -> None:
    old, new = {"a.dat": chunks(1, seed=1)}, {"a.dat": chunks(1, seed=2)}
    commit = hub.commit(repo, old)
    node.put(pipeline, {"m": f"hf://{repo}@main"})
    until(lambda: cache_of(node, pipeline)["generation"])
    hub.commit(repo, new)
    warm(node, pipeline)
    with replica(node, pipeline) as reader:
        assert reader.finished()["files"] == digests(old)
    assert node.call("GET", f"/v1/pipelines/{pipeline}")["models"][0]["resolved"] == commit


def test_a_refresh_brings_the_commit_that_the_branch_has_moved_to(
    node: Node, hub: Hub, pipeline: str, repo: str
) -> None:
    old, new = {"a.dat": chunks(1, seed=1)}, {"a.dat": chunks(1, seed=2)}
    hub.commit(repo, old)
    node.put(pipeline, {"m": f"hf://{repo}@main"})
    warm(node, pipeline)
    hub.commit(repo, new)
    done = cache_server("warm", pipeline, "--refresh", "--wait", "--root", node.root)
    assert done.returncode == 0, done.stderr
    with replica(node, pipeline) as reader:
        assert reader.finished()["files"] == digests(new)


def test_files_that_are_no_weights_travel_as_they_are(
    node: Node, hub: Hub, pipeline: str, repo: str, scratch: Path
) -> None:
    files = {
        "tokenizer.json": b'{"a": "\xc3\xa9"}\r\n',
        "sub/dir/merges.txt": b"#version: 0.2\n\n\n",
        "notes.dat": bytes(range(256)),
        "no-suffix": b"\x00",
        "ein Wort.txt": "grüß".encode(),
    }
    hub.commit(repo, files)
    node.put(pipeline, {"m": f"hf://{repo}"})
    assert pull(node, pipeline, scratch / "out").returncode == 0
    assert tree(scratch / "out/m") == files


def test_files_without_a_byte_travel_too(node: Node, pipeline: str, scratch: Path) -> None:
    files = {"empty.txt": b"", "sub/none.txt": b"", "empty.dat": b"", "one.dat": b"1"}
    write(scratch / "in", files)
    node.put(pipeline, {"m": f"file://{scratch}/in"})
    assert pull(node, pipeline, scratch / "out").returncode == 0
    assert tree(scratch / "out/m") == files


def test_include_and_exclude_choose_what_is_pulled(
    node: Node, hub: Hub, pipeline: str, repo: str, scratch: Path
) -> None:
    files = {"a.json": b"{}", "b.json": b"[]", "sub/c.json": b"1", "d.dat": chunks(1), "e.md": b"#"}
    hub.commit(repo, files)
    put(node, pipeline, source=f"hf://{repo}", include=["*.json"], exclude=["b.*"])
    assert pull(node, pipeline, scratch / "out").returncode == 0
    assert sorted(tree(scratch / "out/m")) == ["a.json", "sub/c.json"]
    assert not hub.sent[f"{repo}/d.dat"]


def test_a_choice_that_leaves_nothing_says_so(
    node: Node, hub: Hub, pipeline: str, repo: str
) -> None:
    hub.commit(repo, {"a.json": b"{}"})
    put(node, pipeline, source=f"hf://{repo}", include=["*.gguf"])
    status, problem = answer(node, "GET", f"/v1/pipelines/{pipeline}/manifest")
    assert (status, problem["code"], problem["retry"]) == (502, "origin-not-found", "never")
    assert "*.gguf" in problem["detail"]


def test_a_second_pull_into_the_same_directory_leaves_nothing_but_the_files(
    node: Node, hub: Hub, pipeline: str, repo: str, scratch: Path
) -> None:
    files = {"a.dat": chunks(1, more=5), "b.txt": b"b"}
    hub.commit(repo, files)
    node.put(pipeline, {"m": f"hf://{repo}"})
    for _ in range(2):
        assert pull(node, pipeline, scratch / "out").returncode == 0
    assert tree(scratch / "out") == {f"m/{path}": data for path, data in files.items()}
