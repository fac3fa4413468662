"""A node that is told to stop while replicas wait."""

import json
import os
import signal
from http.client import HTTPConnection
from urllib.parse import urlsplit

from benchmarks.node import running_node


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
    assert (answer.status, told["code"], told["retry"]) == (429, "fill-stopped", "later")
