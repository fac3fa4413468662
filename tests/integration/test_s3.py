"""From a real S3 server to a replica."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import snapshot_download

from benchmarks.node import Node, running_node
from tests.fakes.hub import Hub
from tests.fakes.hub_client import usual_client
from tests.fakes.swift import Swift, require_swift, swift
from tests.integration.content import chunks, digests, tree
from tests.integration.programs import cache_of, compare, last_error, pull, replica, until

BUCKET = "models"


@pytest.fixture(scope="module")
def s3(module_scratch: Path) -> Iterator[Swift]:
    require_swift()
    with swift(module_scratch / "swift") as s3:
        yield s3


@pytest.fixture(scope="module")
def client(s3: Swift) -> Iterator[Any]:
    client = s3.client()
    client.create_bucket(Bucket=BUCKET)
    yield client
    client.close()


@pytest.fixture(scope="module")
def s3_node(module_scratch: Path, s3: Swift, hub: Hub) -> Iterator[Node]:
    """A node with rights to the bucket, in the words that boto3 reads."""
    env = {
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret,
        "AWS_REGION": s3.region,
        "HF_ENDPOINT": hub.endpoint,
    }
    with running_node(module_scratch / "node", env=env) as node:
        yield node


@pytest.fixture
def upload(client: Any, pipeline: str) -> Any:
    """Put objects below a prefix of the test's own; return the source."""

    def put(files: dict[str, bytes]) -> str:
        for path, data in files.items():
            client.put_object(Bucket=BUCKET, Key=f"{pipeline}/{path}", Body=data)
        return f"s3://{BUCKET}/{pipeline}"

    return put


def test_a_prefix_reaches_a_directory_byte_for_byte(
    s3_node: Node, pipeline: str, upload: Any, checkpoint: Path, scratch: Path
) -> None:
    s3_node.put(pipeline, {"llm": upload({**tree(checkpoint), "empty": b"", "sub/a.txt": b"a"})})
    s3_node.warm(pipeline)
    done = pull(s3_node, pipeline, scratch / "out")
    assert done.returncode == 0, done.stderr
    assert tree(scratch / "out/llm") == {**tree(checkpoint), "empty": b"", "sub/a.txt": b"a"}


def test_an_upload_to_a_bucket_is_a_repository_for_programs_of_the_hub(
    s3_node: Node, pipeline: str, upload: Any, scratch: Path
) -> None:
    files = {"config.json": b"{}", "model.dat": chunks(1, more=5)}
    s3_node.put(pipeline, {"llm": upload(files)})
    token = s3_node.call("POST", "/v1/tokens", {"role": "replica"})["token"]
    door = {"endpoint": f"{s3_node.control}/hf/{pipeline}", "token": token}
    with usual_client():
        first = Path(snapshot_download(f"{pipeline}/llm", cache_dir=scratch / "one", **door))
        s3_node.warm(pipeline)
        again = snapshot_download(
            f"{pipeline}/llm", revision=first.name, cache_dir=scratch / "two", **door
        )
    assert tree(first) == tree(Path(again)) == files


def test_bucket_hub_and_directory_in_one_pipeline_reach_memory_tensor_for_tensor(
    s3_node: Node,
    hub: Hub,
    pipeline: str,
    repo: str,
    upload: Any,
    checkpoint: Path,
    minilm: Path,
) -> None:
    hub.commit(repo, tree(checkpoint))
    sources = {"a": upload(tree(checkpoint)), "b": f"hf://{repo}", "c": f"file://{minilm}"}
    s3_node.put(pipeline, sources)
    result = compare(s3_node, pipeline, a=checkpoint, b=checkpoint, c=minilm)
    assert (result["tensors"] > 104, result["different"]) == (True, [])


def test_a_bucket_that_is_missing_is_named_and_no_retry_is_advised(
    s3_node: Node, pipeline: str, scratch: Path
) -> None:
    s3_node.put(pipeline, {"m": "s3://no-such-bucket/x"})
    done = pull(s3_node, pipeline, scratch / "out")
    error = last_error(s3_node, pipeline)
    assert (done.returncode, error["code"], error["retry"]) == (1, "origin-not-found", "never")
    assert "NoSuchBucket" in done.stderr


def test_wrong_keys_are_refused_with_the_services_own_words(
    module_scratch: Path, s3: Swift, client: Any, upload: Any, pipeline: str, scratch: Path
) -> None:
    source = upload({"a.dat": b"a"})
    env = {
        "AWS_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": "wrong",
        "AWS_REGION": s3.region,
    }
    with running_node(scratch / "node", env=env) as node:
        node.put(pipeline, {"m": source})
        done = pull(node, pipeline, scratch / "out")
    assert done.returncode == 4
    assert "SignatureDoesNotMatch" in done.stderr


def test_an_object_that_is_replaced_before_the_fill_is_pulled_afresh_by_the_next_warm(
    s3_node: Node, pipeline: str, upload: Any
) -> None:
    s3_node.put(pipeline, {"m": upload({"a.dat": chunks(1, seed=1)})})
    until(lambda: cache_of(s3_node, pipeline)["generation"])
    upload({"a.dat": chunks(1, seed=2)})
    s3_node.call("POST", f"/v1/pipelines/{pipeline}/warm", {})
    assert last_error(s3_node, pipeline)["code"] == "origin-changed"
    with replica(s3_node, pipeline) as reader:
        assert reader.finished()["files"] == digests({"a.dat": chunks(1, seed=2)})
