"""A pipeline that the node has no room for: its replicas boot all the same, from the origin."""

import hashlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from benchmarks.node import Node, running_node
from benchmarks.resident import watching
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.boots import Booting
from tests.fakes.hub import Fault, Hub
from tests.fakes.weights import safetensors
from tests.integration.content import chunks, digests, tree
from tests.integration.programs import (
    Replica,
    answer,
    cache_of,
    exit_code,
    last_error,
    ports,
    pull,
    replica,
    until,
)
from tests.integration.s3_programs import access_to

CAPACITY = 3 * CHUNK_SIZE  # of the node; every pipeline here but one needs more
FILES = {"a.dat": chunks(5, more=77), "b.json": b"{}"}
INTEGRITY = 5  # exit code of ``replica-agent --help``
Start = Callable[..., AbstractContextManager[Node]]


@pytest.fixture(scope="module")
def full_node(module_scratch: Path, hub: Hub) -> Iterator[Node]:
    env = {"HF_ENDPOINT": hub.endpoint, "CACHE_SERVER_CAPACITY": str(CAPACITY)}
    with running_node(module_scratch / "node", env=env) as node:
        yield node


@pytest.fixture
def start(scratch: Path, hub: Hub) -> Start:
    """Start a full node of this test's own; again on the same directory with ``ports``."""
    env = {"HF_ENDPOINT": hub.endpoint, "CACHE_SERVER_CAPACITY": str(CAPACITY)}
    return lambda *flags: running_node(scratch / "node", *flags, env=env)


@pytest.fixture
def refused(full_node: Node, hub: Hub, pipeline: str, repo: str) -> str:
    """A pipeline that the node cannot keep."""
    hub.commit(repo, FILES)
    full_node.put(pipeline, {"m": f"hf://{repo}"})
    return pipeline


def sent(hub: Hub, repo: str) -> int:
    """Return the bytes of content that left the hub."""
    return sum(n for path, n in hub.sent.items() if path.startswith(f"{repo}/"))


def size(files: dict[str, bytes]) -> int:
    return sum(len(data) for data in files.values())


def test_a_replica_of_a_pipeline_without_room_has_its_files_and_its_report_says_how(
    full_node: Node, refused: str, scratch: Path
) -> None:
    done = pull(full_node, refused, scratch / "out", "--report", scratch / "report.json")
    assert done.returncode == 0, done.stderr
    assert tree(scratch / "out" / "m") == FILES
    report = json.loads((scratch / "report.json").read_text())
    assert (report["source"], report["ok"]) == ("pass-through", True)
    assert report["reason"].startswith("capacity: 42.0 MB needed")
    assert report["verified_bytes"] == size(FILES)


def test_a_client_of_s3_reads_what_there_is_no_room_for(
    full_node: Node, refused: str, scratch: Path
) -> None:
    sha256 = access_to(full_node).read("boto3", refused, "m/a.dat", scratch / "a.dat")
    assert sha256 == hashlib.sha256(FILES["a.dat"]).hexdigest()


@pytest.mark.parametrize("handover", [True, False], ids=["in memory", "as files"])
def test_an_engine_boots_from_what_passes_through_and_the_boot_report_says_so(
    full_node: Node, hub: Hub, pipeline: str, repo: str, scratch: Path, *, handover: bool
) -> None:
    hub.commit(repo, {"config.json": b"{}", "model.safetensors": safetensors(4)})
    full_node.put(pipeline, {"m": f"hf://{repo}"})
    options = {"pipeline": pipeline, "token": full_node.token, "handover": handover}
    with Booting(scratch / "boot", full_node.control, **options) as boot:
        assert boot.finished() == 0, boot.words()
    report = boot.report()
    assert (report["source"], report["ok"]) == ("pass-through", True)
    assert report["reason"].startswith("capacity: ")


def test_one_replica_pulls_every_byte_once(
    full_node: Node, refused: str, hub: Hub, repo: str
) -> None:
    with replica(full_node, refused) as reader:
        assert reader.finished()["files"] == digests(FILES)
    assert sent(hub, repo) == size(FILES)


def test_warming_it_is_refused_with_the_numbers_and_nothing_is_kept(
    full_node: Node, refused: str
) -> None:
    with replica(full_node, refused) as reader:
        reader.finished()
    status, problem = answer(full_node, "POST", f"/v1/pipelines/{refused}/warm", {})
    assert (status, problem["code"], problem["retry"]) == (507, "capacity", "later")
    assert "42.0 MB needed" in problem["detail"]
    assert "42.0 MB needed" in last_error(full_node, refused)["detail"]
    cache = cache_of(full_node, refused)
    assert (cache["warm"], cache["filled"]) == (False, 0)
    assert not any(full_node.root.glob(f"slots/*/{refused}/*"))


def test_several_replicas_at_once_share_what_the_origin_sends(
    full_node: Node, refused: str, hub: Hub, repo: str
) -> None:
    with ExitStack() as stack:
        readers = [stack.enter_context(replica(full_node, refused)) for _ in range(3)]
        assert [r.finished()["files"] for r in readers] == [digests(FILES)] * 3
    assert sent(hub, repo) == size(FILES)  # one of them pulls, the others follow


def test_a_warm_pipeline_beside_it_is_still_served_from_disk(
    full_node: Node, refused: str, hub: Hub
) -> None:
    files = {"a.dat": chunks(2, seed=9)}
    hub.commit("org/small", files)
    full_node.put("small", {"m": "hf://org/small"})
    full_node.warm("small")
    with replica(full_node, refused) as passing, replica(full_node, "small") as kept:
        assert passing.finished()["files"] == digests(FILES)
        assert kept.finished()["files"] == digests(files)
    assert sent(hub, "org/small") == size(files)
    full_node.call("DELETE", "/v1/pipelines/small?force=true")


def test_bytes_that_the_origin_sent_wrong_once_are_noticed_by_the_agent_and_pulled_again(
    full_node: Node, refused: str, hub: Hub, repo: str
) -> None:
    hub.order(Fault(f"{repo}/", at="cdn", wrong_chunk=1))
    with replica(full_node, refused) as reader:
        finished = reader.finished()
    assert finished["files"] == digests(FILES)
    assert finished["wire"] > size(FILES)


def test_bytes_that_are_wrong_again_and_again_give_no_file_a_name(
    full_node: Node, refused: str, hub: Hub, repo: str, scratch: Path
) -> None:
    hub.order(Fault(f"{repo}/", at="cdn", wrong_chunk=1, times=10**9))
    done = pull(full_node, refused, scratch / "out")
    assert done.returncode == INTEGRITY, done.stderr
    assert "a.dat: the origin promised" in done.stderr
    assert "a.dat" not in tree(scratch / "out" / "m")


@pytest.mark.parametrize("how", ["reset", "truncate"])
def test_an_origin_that_breaks_in_the_middle_is_gone_on_with_at_the_next_byte(
    full_node: Node, refused: str, hub: Hub, repo: str, how: str
) -> None:
    hub.order(Fault(f"{repo}/", at="cdn", times=3, after=CHUNK_SIZE // 4, **{how: True}))  # type: ignore[arg-type]
    with replica(full_node, refused) as reader:
        finished = reader.finished()
    assert finished["files"] == digests(FILES)
    assert finished["wire"] == size(FILES)  # the replica has noticed nothing


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_replica_goes_on_where_it_was_when_the_node_is_back(
    start: Start, hub: Hub, pipeline: str, repo: str, end: signal.Signals
) -> None:
    hub.commit(repo, FILES)
    with ExitStack() as reading:
        with start() as node:
            node.put(pipeline, {"m": f"hf://{repo}"})
            reader = reading.enter_context(replica(node, pipeline, "--hold-at", 3 * CHUNK_SIZE))
            reader.says("held")
            again = ports(node)
            os.kill(node.pid, end)
            exit_code(node)
        with start(*again):
            reader.go()
            finished = reader.finished()
    assert finished["files"] == digests(FILES)
    assert finished["wire"] <= size(FILES) + 4 * CHUNK_SIZE  # each lane had one under way


def test_a_replica_that_starts_when_there_is_room_again_has_the_pipeline_kept(
    start: Start, hub: Hub, pipeline: str, repo: str
) -> None:
    small, files = {"a.dat": chunks(1)}, {"a.dat": chunks(2, seed=3)}
    hub.commit(repo, files)
    hub.commit("org/beside", small)
    with start() as node, replica_that_holds(node, "beside", "org/beside") as beside:
        node.put(pipeline, {"m": f"hf://{repo}"})
        with replica(node, pipeline) as reader:
            assert reader.finished()["files"] == digests(files)
        assert not cache_of(node, pipeline)["warm"]
        beside.go()
        beside.finished()
        node.call("DELETE", "/v1/pipelines/beside?force=true")
        with replica(node, pipeline) as reader:
            assert reader.finished()["files"] == digests(files)
        until(lambda: cache_of(node, pipeline)["warm"])


@contextmanager
def replica_that_holds(node: Node, pipeline: str, repo: str) -> Iterator[Replica]:
    """Start a replica that keeps ``pipeline``, which fits, in use until it is told to go."""
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.warm(pipeline)
    with replica(node, pipeline, "--hold-at", 1) as reader:
        reader.says("held")
        yield reader


def test_the_nodes_memory_stays_bounded_however_much_passes_through(
    full_node: Node, refused: str
) -> None:
    with replica(full_node, refused) as reader:  # libraries are loaded now
        reader.finished()
    with watching(full_node.pid) as growth, ExitStack() as stack:
        readers = [stack.enter_context(replica(full_node, refused)) for _ in range(3)]
        for reader in readers:
            reader.finished()
    # Here all of the pipeline fits into the window; a larger one has 256 MiB at most.
    assert growth.size < size(FILES) + 64 * 2**20
