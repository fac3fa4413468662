"""Sources that mean harm: refused by name, before a byte of theirs is written or served."""

import json
from pathlib import Path

import pytest

from benchmarks.node import Node
from tests.fakes.hub import Hub
from tests.integration.content import tree, write
from tests.integration.programs import answer, cache_of, last_error, pull

NAMES = [
    "../outside.txt",
    "/etc/outside.txt",
    "a/../../outside.txt",
    "a\\..\\outside.txt",
    "nul\0.txt",
    "a//b.txt",
    "x" * 300,
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_a_name_that_leaves_the_slot_is_refused_before_a_byte_is_written(
    node: Node, hub: Hub, pipeline: str, repo: str, name: str
) -> None:
    _commit(hub, repo, name)
    node.put(pipeline, {"m": f"hf://{repo}"})
    error = last_error(node, pipeline)
    assert (error["code"], error["retry"]) == ("malformed", "never")
    assert not list((node.root / "slots").rglob(f"{pipeline}/*"))


def test_names_that_differ_in_case_only_are_refused(
    node: Node, hub: Hub, pipeline: str, repo: str
) -> None:
    hub.commit(repo, {"a.txt": b"a", "A.txt": b"b"})
    node.put(pipeline, {"m": f"hf://{repo}"})
    assert last_error(node, pipeline)["code"] == "malformed"


def test_a_link_that_leads_out_of_a_directory_is_refused_and_the_replica_told(
    node: Node, pipeline: str, scratch: Path
) -> None:
    write(scratch, {"secret.txt": b"secret", "in/a.txt": b"a"})
    (scratch / "in/link.txt").symlink_to(scratch / "secret.txt")
    node.put(pipeline, {"m": f"file://{scratch}/in"})
    done = pull(node, pipeline, scratch / "out")
    assert done.returncode == 1
    assert "link.txt" in done.stderr
    assert "out of its directory" in done.stderr


def test_a_link_that_stays_inside_is_a_file_like_any_other(
    node: Node, pipeline: str, scratch: Path
) -> None:
    write(scratch / "in", {"blobs/1": b"a"})
    (scratch / "in/a.txt").symlink_to("blobs/1")
    node.put(pipeline, {"m": f"file://{scratch}/in"})
    assert pull(node, pipeline, scratch / "out").returncode == 0
    assert tree(scratch / "out/m") == {"blobs/1": b"a", "a.txt": b"a"}


def lying(**entry: object) -> bytes:
    """Return a safetensors file of 8 bytes of data whose header says ``entry``."""
    whole = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}
    text = json.dumps({"t": whole}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(8)


LIES = {
    "beyond the file": lying(shape=[4], data_offsets=[0, 16]),
    "another size than the shape": lying(shape=[3]),
    "a hole": lying(shape=[1], data_offsets=[4, 8]),
    "no header": b"\xff" * 64,
    "shorter than its own length": b"abc",
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_header_that_lies_fails_the_fill_and_is_never_warm(
    node: Node, hub: Hub, pipeline: str, repo: str, lie: bytes
) -> None:
    hub.commit(repo, {"model.safetensors": lie, "config.json": b"{}"})
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.call("POST", f"/v1/pipelines/{pipeline}/warm", {})
    error = last_error(node, pipeline)
    assert (error["code"], error["retry"]) == ("malformed", "never")
    assert "model.safetensors" in error["detail"]
    assert not cache_of(node, pipeline)["warm"]


def test_a_replica_is_told_of_a_header_that_lies_and_the_file_gets_no_name(
    node: Node, hub: Hub, pipeline: str, repo: str, scratch: Path
) -> None:
    hub.commit(repo, {"model.safetensors": LIES["a hole"]})
    node.put(pipeline, {"m": f"hf://{repo}"})
    done = pull(node, pipeline, scratch / "out")
    assert done.returncode == 1
    assert "model.safetensors" in done.stderr
    assert tree(scratch / "out") == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"models": []}, "models"),
        ({"models": [{"name": "m", "source": "gopher://x"}]}, "gopher"),
        ({"models": [{"name": "../m", "source": "hf://a/b"}]}, "name"),
        ({"models": [{"name": "m", "source": "hf://a/b", "exlude": ["*"]}]}, "exlude"),
        ({"models": [{"name": "m", "source": "hf://../b"}]}, "source"),
        ({"models": [{"name": "m", "source": "s3://bucket/x", "revision": "v1"}]}, "revision"),
    ],
)
def test_a_registration_that_is_none_is_refused_with_the_field(
    node: Node, body: object, field: str
) -> None:
    status, problem = answer(node, "PUT", "/v1/pipelines/refused", body)
    assert (status, problem["code"], problem["retry"]) == (422, "malformed", "never")
    assert field in problem["detail"]


def test_an_id_that_is_none_is_refused(node: Node) -> None:
    body = {"models": [{"name": "m", "source": "hf://a/b"}]}
    status, problem = answer(node, "PUT", "/v1/pipelines/No%20Id", body)
    assert (status, problem["code"]) == (422, "malformed")


def _commit(hub: Hub, repo: str, name: str) -> None:
    """Commit a tree with ``name``, which a file system need not be able to hold."""
    hub.commit(repo, {"a.txt": b"a"})
    repository = hub.repository(repo)
    tree = repository.commits[repository.refs["main"]]
    tree[name] = tree["a.txt"]
