"""Scrub as an operator runs it: a command against a real node."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.node import Node, running_node
from cache_protocol.digests import CHUNK_SIZE
from tests.integration.content import chunks, digests, write
from tests.integration.programs import cache_of, cache_server, replica
from tests.integration.test_wrong_bytes import flip, slot_file

FILES = {"a.dat": chunks(2)}
INTEGRITY = 6  # exit code of ``cache-server --help``


@pytest.fixture
def node(scratch: Path) -> Iterator[Node]:
    write(scratch / "in", FILES)
    with running_node(scratch / "node", "--scrub-rate", "1GB") as node:
        node.put("voice", {"m": f"file://{scratch}/in"})
        node.warm("voice")
        yield node


def test_scrub_repairs_what_has_rotted_and_says_so(node: Node) -> None:
    flip(slot_file(node, "voice", "a.dat"), CHUNK_SIZE + 5)
    done = cache_server("scrub", "--wait", "--root", node.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 wrong, 0 not repaired" in done.stdout
    assert cache_of(node, "voice")["repaired_chunks"] == 1
    with replica(node, "voice") as reader:
        assert reader.finished()["files"] == digests(FILES)


def test_scrub_says_with_its_exit_code_that_something_was_not_repaired(
    node: Node, scratch: Path
) -> None:
    flip(slot_file(node, "voice", "a.dat"), 5)
    (scratch / "in" / "a.dat").unlink()
    done = cache_server("scrub", "voice", "--wait", "--root", node.root)
    assert done.returncode == INTEGRITY
    assert "1 not repaired" in done.stdout
