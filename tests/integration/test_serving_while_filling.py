"""A replica does not wait for the fill, nor for a file: it gets chunks as they land."""

from threading import Event

from benchmarks.node import Node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.hub import Hub
from tests.integration.conftest import Hold
from tests.integration.content import chunks, digests
from tests.integration.programs import cache_of, replica, until

CONNECTIONS = 8  # of one fill


def test_a_replica_has_checked_the_chunks_that_landed_while_the_origin_holds_the_rest_back(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold
) -> None:
    files = {"a.dat": chunks(9)}
    hub.commit(repo, files)
    gate = hold(f"{repo}/", at="cdn", chunk=7)
    node.put(pipeline, {"m": f"hf://{repo}"})
    with replica(node, pipeline) as reader:
        # The next ones are there too; their request waits for the seventh.
        reader.verified(4 * CHUNK_SIZE)
        assert cache_of(node, pipeline)["state"] == "filling"
        gate.set()
        assert reader.finished()["files"] == digests(files)
    until(lambda: cache_of(node, pipeline)["warm"])


def test_what_a_replica_waits_for_is_pulled_before_the_fills_natural_order(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold
) -> None:
    count = 2 * CONNECTIONS + 3
    files = {"first.dat": chunks(count), "last.dat": chunks(1, seed=1)}
    hub.commit(repo, files)
    gates = [hold("/first.dat", at="cdn") for _ in range(count)]  # one for each chunk
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.call("POST", f"/v1/pipelines/{pipeline}/warm", {})
    hub.wait_until_stalled(CONNECTIONS)
    with replica(node, pipeline) as reader:  # it asks for small files first
        until(lambda: cache_of(node, pipeline)["last_request"])
        opened = _open_until_asked(hub, f"{repo}/", "/last.dat", gates)
        # By itself the fill comes to it after every other chunk.
        assert opened <= CONNECTIONS
        reader.verified(CHUNK_SIZE)
        for gate in gates:
            gate.set()
        assert reader.finished()["files"] == digests(files)


def _open_until_asked(hub: Hub, repo: str, path: str, gates: list[Event]) -> int:
    """Open gate after gate until the hub is asked for ``path``; return how many it took."""
    for opened, gate in enumerate(gates, 1):
        before = len(hub.asked("cdn", repo))
        gate.set()  # one connection is done with its chunk, and claims the next
        until(lambda: len(hub.asked("cdn", repo)) > before)  # noqa: B023 - called here and now
        if hub.asked("cdn", path):
            return opened
    return len(gates)
