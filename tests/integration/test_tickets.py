"""Keys of tickets that change while replicas read, with both programs as real processes."""

import json

import pytest

from benchmarks.node import Node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.hub import Hub
from tests.integration.content import chunks, digests
from tests.integration.programs import cache_server, replica


@pytest.mark.parametrize("flags", [(), ("--revoke",)], ids=["rotated", "revoked"])
def test_a_pull_goes_on_when_the_keys_of_tickets_change(
    node: Node, hub: Hub, pipeline: str, repo: str, flags: tuple[str, ...]
) -> None:
    files = {"a.dat": chunks(9)}
    hub.commit(repo, files)
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.warm(pipeline)
    with replica(node, pipeline, "--hold-at", 5 * CHUNK_SIZE) as reader:
        reader.says("held")
        for _ in range(2):
            done = cache_server("tickets", "rotate", "--root", node.root, "--json", *flags)
            assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["accepted"]) == (1 if flags else 3)
        reader.go()
        assert reader.finished()["files"] == digests(files)
