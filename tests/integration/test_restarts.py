"""A node that dies or is stopped in the middle, and its replicas, which stay."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from threading import Event

import pytest

from benchmarks.node import Node, running_node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.hub import Hub
from tests.integration.conftest import Hold
from tests.integration.content import chunks, digests
from tests.integration.programs import cache_of, exit_code, ports, replica, until

Start = Callable[..., AbstractContextManager[Node]]


@pytest.fixture
def start(scratch: Path, hub: Hub) -> Start:
    """Start a node of this test's own; again on the same directory and ports with ``ports``."""
    env = {"HF_ENDPOINT": hub.endpoint}
    return lambda *flags: running_node(scratch / "node", *flags, env=env)


def end_while_held(node: Node, how: signal.Signals, gate: Event) -> None:
    """End ``node`` while the hub holds an answer back; the hub breaks off when the node goes."""
    os.kill(node.pid, how)
    if how is signal.SIGTERM:
        until(lambda: not (node.root / "node.json").exists())
        gate.set()
    exit_code(node)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_node_that_ended_in_the_middle_of_a_fill_resumes_by_itself_and_pulls_what_is_missing(
    start: Start, hub: Hub, pipeline: str, repo: str, hold: Hold, end: signal.Signals
) -> None:
    files = {"a.dat": chunks(9)}
    hub.commit(repo, files)
    gate = hold(f"{repo}/", at="cdn", chunk=7, reset=True)
    with start() as node:
        node.put(pipeline, {"m": f"hf://{repo}"})
        node.call("POST", f"/v1/pipelines/{pipeline}/warm", {})
        until(lambda: cache_of(node, pipeline)["filled"] == 8 * CHUNK_SIZE)
        again = ports(node)
        end_while_held(node, end, gate)
    with start(*again) as node:
        until(lambda: cache_of(node, pipeline)["warm"])
        assert hub.sent[f"{repo}/a.dat"] == len(files["a.dat"])
        with replica(node, pipeline) as reader:
            assert reader.finished()["files"] == digests(files)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_replica_survives_a_node_that_ends_in_the_middle_of_the_fill(
    start: Start, hub: Hub, pipeline: str, repo: str, hold: Hold, end: signal.Signals
) -> None:
    files = {"a.dat": chunks(9)}
    hub.commit(repo, files)
    gate = hold(f"{repo}/", at="cdn", chunk=7, reset=True)
    with ExitStack() as reading:
        with start() as node:
            node.put(pipeline, {"m": f"hf://{repo}"})
            reader = reading.enter_context(replica(node, pipeline))
            reader.verified(4 * CHUNK_SIZE)
            again = ports(node)
            end_while_held(node, end, gate)
        with start(*again):
            assert reader.finished()["files"] == digests(files)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "stopped"])
def test_a_replica_of_a_warm_slot_goes_on_where_it_was_when_the_node_is_back(
    start: Start, hub: Hub, pipeline: str, repo: str, end: signal.Signals
) -> None:
    files = {"a.dat": chunks(9)}
    hub.commit(repo, files)
    with ExitStack() as reading:
        with start() as node:
            node.put(pipeline, {"m": f"hf://{repo}"})
            node.warm(pipeline)
            reader = reading.enter_context(replica(node, pipeline, "--hold-at", 5 * CHUNK_SIZE))
            reader.says("held")
            again = ports(node)
            os.kill(node.pid, end)
            exit_code(node)
        with start(*again):
            reader.go()
            finished = reader.finished()
    assert finished["files"] == digests(files)
    # Each of four lanes had one chunk under way that counts for nothing.
    assert finished["wire"] <= 9 * CHUNK_SIZE + 4 * CHUNK_SIZE
    assert hub.sent[f"{repo}/a.dat"] == len(files["a.dat"])


def test_a_node_that_is_told_to_stop_ends_with_code_0_although_a_replica_reads(
    start: Start, hub: Hub, pipeline: str, repo: str
) -> None:
    hub.commit(repo, {"a.dat": chunks(9)})
    with start() as node:
        node.put(pipeline, {"m": f"hf://{repo}"})
        node.warm(pipeline)
        with replica(node, pipeline, "--hold-at", 5 * CHUNK_SIZE) as reader:
            reader.says("held")
            os.kill(node.pid, signal.SIGTERM)
            assert exit_code(node) == 0
