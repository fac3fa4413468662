"""Node and agent on one host, both as real processes: bytes are read from the node's files."""

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.node import Node, running_node
from tests.fakes.certificates import Authority
from tests.fakes.hub import Hub
from tests.integration.conftest import Hold
from tests.integration.content import chunks, digests, tree, write
from tests.integration.programs import (
    Replica,
    answer,
    cache_of,
    exit_code,
    kill,
    ports,
    pull,
    replica,
    replica_agent,
)

HERE = {"REPLICA_AGENT_LOCAL_SOCKET": "auto"}
FILES = {"a.dat": chunks(9), "b.dat": chunks(2, seed=1, more=5), "config.json": b"{}", "empty": b""}
SIZE = sum(map(len, FILES.values()))


@pytest.fixture(scope="module")
def weights(module_scratch: Path) -> Path:
    return write(module_scratch / "weights", FILES)


@pytest.fixture
def warm(node: Node, pipeline: str, weights: Path) -> str:
    """A pipeline whose files are all on the node's disk."""
    node.put(pipeline, {"m": f"file://{weights}"})
    node.warm(pipeline)
    return pipeline


def slot_file(node: Node, pipeline: str, name: str) -> Path:
    generation = cache_of(node, pipeline)["generation"]
    return next(p for p in node.root.rglob(name) if generation in p.parts)


def test_a_warm_pipeline_is_read_from_the_nodes_own_files(node: Node, warm: str) -> None:
    with replica(node, warm, **HERE) as reader:
        said = reader.finished()
    assert said["files"] == digests(FILES)
    assert (said["wire"], said["local"], said["remarks"]) == (0, SIZE, [])


def test_a_pull_into_a_directory_says_so_in_its_report(
    node: Node, warm: str, scratch: Path
) -> None:
    done = replica_agent(
        node, "pull", "--pipeline", warm, "--to", scratch / "out", "--json", **HERE
    )
    assert done.returncode == 0, done.stderr
    assert tree(scratch / "out/m") == FILES
    assert json.loads(done.stdout)["local_bytes"] == SIZE
    done = pull(node, warm, scratch / "out")
    assert "read on this host" not in done.stdout


def test_the_nodes_socket_is_for_its_user(node: Node) -> None:
    found = (node.root / "local.sock").lstat()
    assert (stat.S_ISSOCK(found.st_mode), stat.S_IMODE(found.st_mode)) == (True, 0o600)


def test_rot_in_the_nodes_file_is_found_and_brought_anew(node: Node, warm: str) -> None:
    with slot_file(node, warm, "a.dat").open("r+b") as file:
        file.seek(5 * 2**20)
        file.write(b"rot")
    with replica(node, warm, **HERE) as reader:
        said = reader.finished()
    assert said["files"] == digests(FILES)
    assert said["wire"] == 8 * 2**20  # the chunk that was wrong
    assert cache_of(node, warm)["repaired_chunks"] == 1


def test_what_is_still_being_filled_comes_over_the_network(
    hub: Hub, node: Node, pipeline: str, repo: str, hold: Hold
) -> None:
    hub.commit(repo, FILES)
    gate = hold(f"{repo}/", at="cdn", chunk=4)
    node.put(pipeline, {"m": f"hf://{repo}"})
    with replica(node, pipeline, **HERE) as reader:
        reader.verified(8 * 2**20)
        assert cache_of(node, pipeline)["state"] == "filling"
        gate.set()
        said = reader.finished()
    assert said["files"] == digests(FILES)
    assert said["wire"] > 0


def test_a_forced_eviction_ends_what_was_lent_and_its_room_is_free(node: Node, warm: str) -> None:
    with replica(node, warm, "--hold-at", 4 * 2**20, **HERE) as reader:
        reader.says("held")
        assert _slot_files_of(reader)
        status, freed = answer(node, "POST", f"/v1/pipelines/{warm}/evict", {"force": True})
        assert (status, freed["freed"] >= SIZE) == (200, True)
        held = _slot_files_of(reader)
        assert held
        assert all(os.stat(each).st_blocks == 0 for each in held)
        reader.go()
        assert reader.finished()["files"] == digests(FILES)  # pulled again from its origin


def _slot_files_of(reader: Replica) -> list[Path]:
    """Return the node's files that a replica has open, also those that were deleted."""
    links = Path(f"/proc/{reader.process.pid}/fd").iterdir()
    return [
        each for each in links if "/slots/" in os.readlink(each) or "/trash/" in os.readlink(each)
    ]


def test_a_node_that_is_killed_costs_no_byte(scratch: Path, weights: Path) -> None:
    root = scratch / "node"
    with running_node(root) as node:
        node.put("voice", {"m": f"file://{weights}"})
        node.warm("voice")
        with replica(node, "voice", "--hold-at", 4 * 2**20, **HERE) as reader:
            reader.says("held")
            flags = ports(node)
            kill(node.pid)
            exit_code(node)
            with running_node(root, *flags):
                reader.go()
                said = reader.finished()
    assert said["files"] == digests(FILES)


def test_with_tls_the_bytes_of_this_host_are_read_as_they_are(scratch: Path, weights: Path) -> None:
    authority = Authority(scratch / "authority")
    pair = authority.issue("127.0.0.1")
    env = {"CACHE_SERVER_TLS_CERT": str(pair.cert), "CACHE_SERVER_TLS_KEY": str(pair.key)}
    trust = {"REPLICA_AGENT_CA": str(authority.ca)}
    with running_node(scratch / "node", env=env) as plain:
        node = replace(plain, ca=authority.ca)
        node.put("voice", {"m": f"file://{weights}"})
        node.warm("voice")
        with replica(node, "voice", **HERE, **trust) as reader:
            said = reader.finished()
    assert (said["files"], said["wire"], said["local"]) == (digests(FILES), 0, SIZE)


@pytest.fixture
def elsewhere(scratch: Path, weights: Path) -> Iterator[tuple[Node, str]]:
    """A node whose socket an operator has put where others get to, and where that is."""
    (scratch / "run").mkdir()
    path = str(scratch / "run" / "warmline")
    with running_node(scratch / "node", "--local-socket", path) as node:
        node.put("voice", {"m": f"file://{weights}"})
        node.warm("voice")
        yield node, path


def test_a_socket_may_be_elsewhere_and_agents_may_be_told_where(
    elsewhere: tuple[Node, str],
) -> None:
    node, path = elsewhere
    assert stat.S_IMODE(os.lstat(path).st_mode) == 0o666
    for wish in ("auto", path):
        with replica(node, "voice", REPLICA_AGENT_LOCAL_SOCKET=wish) as reader:
            assert reader.finished()["local"] == SIZE


def test_a_socket_of_another_node_gives_nothing_and_the_network_all(
    node: Node, warm: str, elsewhere: tuple[Node, str]
) -> None:
    _, path = elsewhere
    with replica(node, warm, REPLICA_AGENT_LOCAL_SOCKET=path) as reader:
        said = reader.finished()
    assert (said["files"], said["local"]) == (digests(FILES), 0)
    assert "the node lends nothing" in said["remarks"][0]
