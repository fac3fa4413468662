"""A node whose disk is too small: it says so with numbers, and goes on."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.node import Node, running_node
from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.units import show_size
from tests.fakes.small_disk import SMALL_DISK, mounted_small_disk
from tests.integration.content import chunks, digests, tree, write
from tests.integration.programs import answer, cache_of, last_error, pull, replica, until

TOO_LARGE = SMALL_DISK // CHUNK_SIZE + 1  # chunks
NEEDED = show_size(TOO_LARGE * CHUNK_SIZE) + " needed"


@pytest.fixture(scope="module")
def small_disk(module_scratch: Path) -> Iterator[Path]:
    """A file system that is soon full."""
    with mounted_small_disk(module_scratch / "disk") as disk:
        yield disk


@pytest.fixture(scope="module")
def small_node(small_disk: Path, module_scratch: Path) -> Iterator[Node]:
    """A node that was promised more room than its disk has."""
    with running_node(small_disk / "node", "--capacity", "10GB") as node:
        yield node


@pytest.fixture
def too_large(small_node: Node, pipeline: str, scratch: Path) -> str:
    write(scratch / "large", {"a.dat": chunks(TOO_LARGE)})
    small_node.put(pipeline, {"m": f"file://{scratch}/large"})
    until(lambda: cache_of(small_node, pipeline)["size"])  # resolved, in the background
    return pipeline


def test_a_pipeline_that_does_not_fit_on_the_disk_is_refused_with_the_numbers(
    small_node: Node, too_large: str
) -> None:
    status, problem = answer(small_node, "POST", f"/v1/pipelines/{too_large}/warm")
    assert (status, problem["code"], problem["retry"]) == (507, "capacity", "later")
    assert NEEDED in problem["detail"]


def test_the_operator_sees_why_a_replica_was_refused_room(small_node: Node, too_large: str) -> None:
    answer(small_node, "GET", f"/v1/pipelines/{too_large}/manifest")
    assert last_error(small_node, too_large)["code"] == "capacity"


def test_a_replica_has_its_files_although_they_do_not_fit_on_the_disk(
    small_node: Node, too_large: str, scratch: Path
) -> None:
    done = pull(small_node, too_large, scratch / "out", "--report", scratch / "report.json")
    assert done.returncode == 0, done.stderr
    assert tree(scratch / "out" / "m") == tree(scratch / "large")
    report = json.loads((scratch / "report.json").read_text())
    assert report["source"] == "pass-through"
    assert NEEDED in report["reason"]


def test_a_pipeline_that_fits_is_served_beside_one_that_does_not(
    small_node: Node, too_large: str, scratch: Path
) -> None:
    files = {"a.dat": chunks(2)}
    write(scratch / "small", files)
    answer(small_node, "GET", f"/v1/pipelines/{too_large}/manifest")
    small_node.put("small", {"m": f"file://{scratch}/small"})
    with replica(small_node, "small") as reader:
        assert reader.finished()["files"] == digests(files)
    assert small_node.call("DELETE", "/v1/pipelines/small?force=true")["freed"] >= 2 * CHUNK_SIZE


def test_what_was_refused_leaves_the_disk_as_it_was(small_node: Node, too_large: str) -> None:
    before = small_node.call("GET", "/v1/status")["disk_free"]
    answer(small_node, "GET", f"/v1/pipelines/{too_large}/manifest")
    assert cache_of(small_node, too_large)["filled"] == 0
    assert small_node.call("GET", "/v1/status")["disk_free"] >= before - 2**20
