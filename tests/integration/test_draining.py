"""A node that is told to stop while replicas read: they finish, and nobody new begins."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.node import Node, running_node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.hub import Hub
from tests.integration.conftest import Hold
from tests.integration.content import chunks, digests, write
from tests.integration.programs import answer, exit_code, pull, replica, until

FILES = {"w.dat": chunks(3), "config.json": b"{}"}


@contextmanager
def warm_node(scratch: Path, limit: str) -> Iterator[Node]:
    weights = write(scratch / "weights", FILES)
    with running_node(scratch / "root", "--drain", limit) as node:
        node.put("voice", {"m": f"file://{weights}"})
        node.warm("voice")
        yield node


def drain(node: Node) -> dict[str, str]:
    """Tell ``node`` to stop; return what it says of its readiness once it drains."""
    os.kill(node.pid, signal.SIGTERM)
    until(lambda: answer(node, "GET", "/readyz")[0] == 503)
    return answer(node, "GET", "/readyz")[1]


@contextmanager
def asked_for_a_manifest(node: Node) -> Iterator[HTTPResponse]:
    connection = HTTPConnection(urlsplit(node.control).netloc, timeout=30)
    token = {"Authorization": f"Bearer {node.token}"}
    connection.request("GET", "/v1/pipelines/voice/manifest", headers=token)
    try:
        yield connection.getresponse()
    finally:
        connection.close()


def test_a_reader_finishes_while_a_new_one_is_sent_away(scratch: Path) -> None:
    with warm_node(scratch, "PT60S") as node, replica(node, "voice", "--hold-at", 0) as reader:
        reader.says("held")
        assert drain(node)["reason"].startswith("draining")
        with asked_for_a_manifest(node) as refused:
            problem = json.loads(refused.read())
            assert (refused.status, problem["code"], problem["retry"]) == (503, "draining", "later")
            assert int(refused.headers["Retry-After"]) > 0
        reader.go()
        assert reader.finished()["files"] == digests(FILES)
        assert exit_code(node) == 0


def test_a_fill_that_a_replica_reads_goes_on_until_the_replica_has_all(
    scratch: Path, hub: Hub, repo: str, hold: Hold
) -> None:
    hub.commit(repo, {"w.dat": chunks(9)})
    gate = hold(f"{repo}/", at="cdn", chunk=7)
    env = {"HF_ENDPOINT": hub.endpoint}
    with running_node(scratch / "root", "--drain", "PT60S", env=env) as node:
        node.put("voice", {"m": f"hf://{repo}"})
        with replica(node, "voice") as reader:
            reader.verified(CHUNK_SIZE)
            drain(node)
            gate.set()
            assert reader.finished()["files"] == digests({"w.dat": chunks(9)})
            assert exit_code(node) == 0


def test_a_reader_that_does_not_finish_is_cut_off_at_the_limit(scratch: Path) -> None:
    with warm_node(scratch, "PT1S") as node, replica(node, "voice", "--hold-at", 0) as reader:
        reader.says("held")
        asked = time.monotonic()
        os.kill(node.pid, signal.SIGTERM)
        assert exit_code(node) == 0
        assert 1 <= time.monotonic() - asked < 1 + 9  # and what a stop may take
        assert "are cut off" in node.log.read_text()


def test_a_second_signal_waits_for_no_reader(scratch: Path) -> None:
    with warm_node(scratch, "PT1H") as node, replica(node, "voice", "--hold-at", 0) as reader:
        reader.says("held")
        drain(node)
        os.kill(node.pid, signal.SIGTERM)
        assert exit_code(node) == 0


def test_who_waits_for_a_cold_pipeline_is_told_at_once_while_another_reads(
    scratch: Path,
) -> None:
    env = {"HF_ENDPOINT": "http://127.0.0.1:1"}  # refuses at once: asked again and again
    weights = write(scratch / "weights", FILES)
    with running_node(scratch / "root", "--drain", "PT60S", env=env) as node:
        node.put("other", {"m": f"file://{weights}"})
        node.warm("other")
        node.put("voice", {"m": "hf://org/name"})
        with replica(node, "other", "--hold-at", 0) as reader, replica(node, "voice") as waiting:
            reader.says("held")
            until(lambda: node.call("GET", "/v1/status")["fills"])
            drain(node)
            assert waiting.finished()["error"] == "draining"
            reader.go()
            assert reader.finished()["files"] == digests(FILES)


def test_an_agent_that_may_not_go_elsewhere_ends_with_the_code_of_a_node_that_is_not_there(
    scratch: Path,
) -> None:
    with warm_node(scratch, "PT60S") as node, replica(node, "voice", "--hold-at", 0) as reader:
        reader.says("held")
        drain(node)
        late = pull(node, "voice", scratch / "out")
        assert (late.returncode, "being stopped" in late.stderr) == (7, True)
        reader.go()
        reader.finished()
