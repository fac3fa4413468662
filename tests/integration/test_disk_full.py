"""A node whose disk is too small: it says so with numbers, and goes on."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.node import Node, running_node
from cache_protocol.digests import CHUNK_SIZE
from tests.integration.content import chunks, digests, write
from tests.integration.programs import answer, cache_of, last_error, pull, replica

DISK = 6 * CHUNK_SIZE
NO_ROOM = 6  # exit code of ``replica-agent --help``


@pytest.fixture(scope="module")
def small_disk(module_scratch: Path) -> Iterator[Path]:
    """A file system of 48 MiB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a file system can be mounted by root only")
    place = module_scratch / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", place], check=False
    )
    if mounted.returncode:
        pytest.skip("this root may not mount a file system")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture(scope="module")
def small_node(small_disk: Path, module_scratch: Path) -> Iterator[Node]:
    """A node that was promised more room than its disk has."""
    with running_node(small_disk / "node", "--capacity", "10GB") as node:
        yield node


@pytest.fixture
def too_large(small_node: Node, pipeline: str, scratch: Path) -> str:
    write(scratch / "large", {"a.bin": chunks(7)})
    small_node.put(pipeline, {"m": f"file://{scratch}/large"})
    return pipeline


def test_a_pipeline_that_does_not_fit_on_the_disk_is_refused_with_the_numbers(
    small_node: Node, too_large: str
) -> None:
    status, problem = answer(small_node, "GET", f"/v1/pipelines/{too_large}/manifest")
    assert (status, problem["code"], problem["retry"]) == (507, "capacity", "later")
    assert "58.7 MB needed" in problem["detail"]
    assert last_error(small_node, too_large)["code"] == "capacity"


def test_a_replica_learns_that_its_pipeline_does_not_fit(
    small_node: Node, too_large: str, scratch: Path
) -> None:
    done = pull(small_node, too_large, scratch / "out")
    assert done.returncode == NO_ROOM
    assert "58.7 MB needed" in done.stderr


def test_a_pipeline_that_fits_is_served_beside_one_that_does_not(
    small_node: Node, too_large: str, scratch: Path
) -> None:
    files = {"a.bin": chunks(2)}
    write(scratch / "small", files)
    small_node.call("POST", f"/v1/pipelines/{too_large}/warm", {})
    last_error(small_node, too_large)
    small_node.put("small", {"m": f"file://{scratch}/small"})
    with replica(small_node, "small") as reader:
        assert reader.finished()["files"] == digests(files)
    assert small_node.call("DELETE", "/v1/pipelines/small?force=true")["freed"] >= 2 * CHUNK_SIZE


def test_what_was_refused_leaves_the_disk_as_it_was(small_node: Node, too_large: str) -> None:
    before = small_node.call("GET", "/v1/status")["disk_free"]
    small_node.call("POST", f"/v1/pipelines/{too_large}/warm", {})
    last_error(small_node, too_large)
    assert cache_of(small_node, too_large)["filled"] == 0
    assert small_node.call("GET", "/v1/status")["disk_free"] >= before - 2**20
