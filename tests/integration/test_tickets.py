"""Keys of tickets that change while replicas read, with both programs as real processes."""

import pytest

from benchmarks.node import Node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.hub import Hub
from tests.integration.content import chunks, digests
from tests.integration.programs import replica


@pytest.mark.parametrize(
    ("body", "accepted"), [({}, 3), ({"revoke": True}, 1)], ids=["rotated", "revoked"]
)
def test_a_pull_goes_on_when_the_keys_of_tickets_change(
    node: Node, hub: Hub, pipeline: str, repo: str, body: dict[str, bool], accepted: int
) -> None:
    files = {"a.dat": chunks(9)}
    hub.commit(repo, files)
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.warm(pipeline)
    with replica(node, pipeline, "--hold-at", 5 * CHUNK_SIZE) as reader:
        reader.says("held")
        for _ in range(2):
            answer = node.call("POST", "/v1/tickets/rotate", body)
        assert len(answer["accepted"]) == accepted
        reader.go()
        assert reader.finished()["files"] == digests(files)
