"""A node that is told to stop while replicas wait."""

import json
import os
import signal
import time
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.node import running_node
from tests.fakes.hub import Hub
from tests.integration.conftest import Hold
from tests.integration.content import chunks
from tests.integration.programs import cache_server, exit_code


def test_a_replica_that_waits_for_a_silent_hub_is_told_when_the_node_stops(tmp_path):
    nobody = {"HF_ENDPOINT": "http://127.0.0.1:1"}  # refuses at once: asked again and again
    with running_node(tmp_path / "root", env=nobody) as node:
        node.put("voice", {"m": "hf://org/name"})
        connection = HTTPConnection(urlsplit(node.control).netloc, timeout=30)
        token = {"Authorization": f"Bearer {node.token}"}
        connection.request("GET", "/v1/pipelines/voice/manifest", headers=token)
        while node.call("GET", "/v1/pipelines/voice")["cache"]["state"] != "filling":
            pass  # the request above has not arrived yet
        os.kill(node.pid, signal.SIGTERM)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        connection.close()
    assert (answer.status, told["code"], told["retry"]) == (503, "draining", "later")


def test_a_node_whose_origin_is_silent_in_mid_body_stops_before_a_container_engine_kills_it(
    tmp_path: Path, hub: Hub, repo: str, hold: Hold
) -> None:
    hub.commit(repo, {"a.dat": chunks(2)})
    hold(f"{repo}/", at="cdn", chunk=1)
    with running_node(tmp_path / "root", env={"HF_ENDPOINT": hub.endpoint}) as node:
        node.put("voice", {"m": f"hf://{repo}"})
        node.call("POST", "/v1/pipelines/voice/warm", {})
        hub.wait_until_stalled(1)
        asked = time.monotonic()
        os.kill(node.pid, signal.SIGTERM)
        assert exit_code(node) == 0
        assert time.monotonic() - asked < 10  # what Docker waits before SIGKILL


def test_a_node_that_cannot_say_where_it_listens_ends_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "node.json").mkdir()
    ended = cache_server("serve", "--root", tmp_path, "--port", 0, "--data-port", 0)
    assert ended.returncode == 8, ended.stderr  # a disk error
    assert "cache-server: node.json: Is a directory" in ended.stderr
