"""A real node on a disk that fails or hangs: nothing new is written, and what can be is served."""

import mmap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from benchmarks.node import Node, running_node
from tests.fakes.faulty_disk import FaultyDisk, faulty_disk, forget
from tests.integration.content import chunks, digests, write
from tests.integration.programs import answer, cache_of, replica, until

pytestmark = pytest.mark.timeout(180)
MAP_LOCKED = 0x2000  # asm-generic/mman.h; the mmap module does not name it
FILES = {"a.dat": chunks(2)}
LATE = {"b.dat": chunks(2, seed=1)}


@pytest.fixture
def disk(scratch: Path) -> Iterator[FaultyDisk]:
    with faulty_disk(scratch) as disk:
        yield disk


@pytest.fixture
def node(disk: FaultyDisk, scratch: Path) -> Iterator[Node]:
    """A node with one warm pipeline, ``warm``, and one that is only registered, ``late``."""
    write(scratch / "in", FILES)
    write(scratch / "late", LATE)
    with running_node(disk.path / "node", "--capacity", "80MB") as node:
        node.put("warm", {"m": f"file://{scratch}/in"})
        node.warm("warm")
        node.put("late", {"m": f"file://{scratch}/late"})
        until(lambda: node.call("GET", "/v1/status")["reconciled"])
        yield node


def ready(node: Node) -> tuple[bool, str]:
    status, body = answer(node, "GET", "/readyz")
    return status == 200, body.get("reason", "")


def slot_file(node: Node, pipeline: str, name: str) -> Path:
    generation = cache_of(node, pipeline)["generation"]
    return next(p for p in node.root.rglob(name) if generation in p.parts)


@contextmanager
def in_memory(node: Node) -> Iterator[None]:
    """Have the warm pipeline's bytes in the page cache, and keep them there.

    Read once they may be gone a moment later: some kernels reclaim what looks cold (DAMON).
    """
    with (
        slot_file(node, "warm", "a.dat").open("rb") as file,
        mmap.mmap(file.fileno(), 0, MAP_LOCKED | mmap.MAP_SHARED, mmap.PROT_READ),
    ):
        yield


def test_a_disk_that_fails_takes_no_fill_serves_what_it_can_and_recovers_by_itself(
    disk: FaultyDisk, node: Node
) -> None:
    with in_memory(node), disk.failing():
        until(lambda: not ready(node)[0])
        assert "the disk is sick" in ready(node)[1]
        status, problem = answer(node, "POST", "/v1/pipelines/late/warm", {})
        assert (status, problem["code"], problem["retry"]) == (503, "disk-sick", "later")
        with replica(node, "warm") as reader:
            assert reader.finished()["files"] == digests(FILES)
        assert node.call("GET", "/healthz") == {"status": "ok"}
    until(lambda: ready(node)[0])
    node.warm("late")
    with replica(node, "late") as reader:
        assert reader.finished()["files"] == digests(LATE)


def test_a_replica_whose_bytes_the_disk_refuses_gets_them_when_it_is_well(
    disk: FaultyDisk, node: Node
) -> None:
    with ExitStack() as reading:
        forget(slot_file(node, "warm", "a.dat"))
        with disk.failing():
            reader = reading.enter_context(replica(node, "warm"))
            until(lambda: "cannot be read" in node.log.read_text())
        assert reader.finished()["files"] == digests(FILES)
    until(lambda: ready(node)[0])
    assert cache_of(node, "warm")["warm"]


def test_a_replica_that_reads_the_nodes_file_itself_has_an_error_of_a_read_and_then_its_bytes(
    disk: FaultyDisk, node: Node
) -> None:
    with ExitStack() as reading:
        forget(slot_file(node, "warm", "a.dat"))
        with disk.failing():
            reader = reading.enter_context(replica(node, "warm", REPLICA_AGENT_LOCAL_SOCKET="auto"))
            until(lambda: "cannot be read" in node.log.read_text())
        said = reader.finished()
    assert said["files"] == digests(FILES)
    assert "Input/output error" in said["remarks"][0]


def test_a_disk_that_hangs_is_told_of_and_holds_up_nobody_whose_bytes_are_in_memory(
    disk: FaultyDisk, node: Node, scratch: Path
) -> None:
    node.put("cold", {"m": f"file://{scratch}/in"})
    node.warm("cold")
    forget(slot_file(node, "cold", "a.dat"))
    with ExitStack() as reading:
        with in_memory(node), disk.hanging():
            stuck = reading.enter_context(replica(node, "cold"))
            until(lambda: not ready(node)[0])
            assert "has not answered" in ready(node)[1]
            assert answer(node, "POST", "/v1/pipelines/late/warm", {})[1]["code"] == "disk-sick"
            assert answer(node, "GET", "/v1/pipelines/warm/plans/m")[1]["code"] == "disk-sick"
            with replica(node, "warm") as reader:
                assert reader.finished()["files"] == digests(FILES)
            assert stuck.process.poll() is None
        assert stuck.finished()["files"] == digests(FILES)
    until(lambda: ready(node)[0])
    node.warm("late")
