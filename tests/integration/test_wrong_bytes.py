"""Bytes that are not the promised ones, at the origin and on the node's own disk."""

import os
from pathlib import Path

from benchmarks.node import Node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.hub import Fault, Hub
from tests.integration.content import chunks, digests, tree, write
from tests.integration.programs import (
    cache_of,
    compare,
    last_error,
    pull,
    replica,
    until,
)

INTEGRITY = 5  # exit code of ``replica-agent --help``


def flip(file: Path, at: int) -> None:
    """Flip one byte as a failing disk would: no timestamp, no word."""
    fd = os.open(file, os.O_RDWR)
    try:
        os.pwrite(fd, bytes([os.pread(fd, 1, at)[0] ^ 0xFF]), at)
    finally:
        os.close(fd)


def slot_file(node: Node, pipeline: str, name: str) -> Path:
    """Return where the node keeps a file of ``pipeline``."""
    generation = cache_of(node, pipeline)["generation"]
    return next(p for p in node.root.rglob(name) if generation in p.parts)


def repaired(node: Node) -> int:
    count: int = node.call("GET", "/v1/status")["repaired_chunks"]
    return count


def test_a_byte_that_the_origin_sent_wrong_once_is_pulled_again(
    node: Node, hub: Hub, pipeline: str, repo: str
) -> None:
    files = {"a.dat": chunks(3)}
    hub.commit(repo, files)
    hub.order(Fault(f"{repo}/", at="cdn", wrong_chunk=1))
    node.put(pipeline, {"m": f"hf://{repo}"})
    with replica(node, pipeline) as reader:
        assert reader.finished()["files"] == digests(files)
    assert cache_of(node, pipeline)["warm"]


def test_bytes_that_are_wrong_twice_fail_the_fill_and_nothing_is_warm(
    node: Node, hub: Hub, pipeline: str, repo: str
) -> None:
    hub.commit(repo, {"a.dat": chunks(3)})
    hub.order(Fault(f"{repo}/", at="cdn", wrong_chunk=1, times=2))
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.call("POST", f"/v1/pipelines/{pipeline}/warm", {})
    assert last_error(node, pipeline)["code"] == "integrity"
    cache = cache_of(node, pipeline)
    assert (cache["state"], cache["warm"], cache["filled"]) == ("cold", False, 0)


def test_a_replica_is_told_of_bytes_that_are_wrong_twice_and_no_file_gets_its_name(
    node: Node, hub: Hub, pipeline: str, repo: str, scratch: Path
) -> None:
    hub.commit(repo, {"a.dat": chunks(3)})
    hub.order(Fault(f"{repo}/", at="cdn", wrong_chunk=1, times=10**9))
    node.put(pipeline, {"m": f"hf://{repo}"})
    done = pull(node, pipeline, scratch / "out")
    assert done.returncode == INTEGRITY, done.stderr
    assert "a.dat" in done.stderr
    assert tree(scratch / "out") == {}


def test_no_load_into_memory_is_done_with_bytes_that_are_wrong_twice(
    node: Node, hub: Hub, pipeline: str, repo: str
) -> None:
    hub.commit(repo, {"a.dat": chunks(3)})
    hub.order(Fault(f"{repo}/", at="cdn", wrong_chunk=1, times=10**9))
    node.put(pipeline, {"m": f"hf://{repo}"})
    with replica(node, pipeline) as reader:
        finished = reader.finished()
        assert (finished["error"], reader.process.returncode) == ("integrity", INTEGRITY)


def test_the_fill_after_one_that_brought_wrong_bytes_starts_afresh(
    node: Node, hub: Hub, pipeline: str, repo: str
) -> None:
    files = {"a.dat": chunks(2)}
    hub.commit(repo, files)
    hub.order(Fault(f"{repo}/", at="cdn", wrong_chunk=1, times=2))
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.call("POST", f"/v1/pipelines/{pipeline}/warm", {})
    assert last_error(node, pipeline)["code"] == "integrity"
    with replica(node, pipeline) as reader:
        assert reader.finished()["files"] == digests(files)


def test_a_byte_that_rotted_on_the_nodes_disk_is_brought_anew_from_the_origin(
    node: Node, hub: Hub, pipeline: str, repo: str, checkpoint: Path
) -> None:
    hub.commit(repo, tree(checkpoint))
    node.put(pipeline, {"llm": f"hf://{repo}"})
    node.warm(pipeline)
    before = repaired(node)
    flip(slot_file(node, pipeline, "model-00001-of-00002.safetensors"), 2 * CHUNK_SIZE + 12345)
    assert compare(node, pipeline, llm=checkpoint)["different"] == []
    assert repaired(node) == before + 1


def test_rot_that_the_origin_can_no_longer_heal_is_named_and_the_replica_gets_the_new_content(
    node: Node, pipeline: str, scratch: Path
) -> None:
    write(scratch / "in", {"a.dat": chunks(2)})
    node.put(pipeline, {"m": f"file://{scratch}/in"})
    node.warm(pipeline)
    write(scratch / "in", {"a.dat": chunks(2, seed=1)})
    flip(slot_file(node, pipeline, "a.dat"), 5)
    with replica(node, pipeline) as reader:
        finished = reader.finished()
    # What was cached exists nowhere any more: the replica gets all of the new content, no mix.
    assert finished["files"] == digests({"a.dat": chunks(2, seed=1)})
    log = [line for line in node.log.read_text().splitlines() if pipeline in line]
    assert any("cannot be repaired" in line and "no longer the one" in line for line in log)


def test_a_slot_is_warm_again_after_its_rot_could_not_be_healed(
    node: Node, pipeline: str, scratch: Path
) -> None:
    write(scratch / "in", {"a.dat": chunks(2)})
    node.put(pipeline, {"m": f"file://{scratch}/in"})
    node.warm(pipeline)
    old = cache_of(node, pipeline)["generation"]
    write(scratch / "in", {"a.dat": chunks(2, seed=1)})
    flip(slot_file(node, pipeline, "a.dat"), 5)
    with replica(node, pipeline) as reader:
        reader.finished()
    until(lambda: cache_of(node, pipeline)["warm"])
    assert cache_of(node, pipeline)["generation"] != old
