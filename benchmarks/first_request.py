"""Time from exec of the agent to the first byte range that it asks for, without a node.

A stand-in for both planes answers the manifest at once from a canned page, so what is measured
is the agent's own start: interpreter, imports, one control call, one connection.

    exec ──────────► GET …/manifest ──────────► GET /files/… Range: bytes=…
    clock starts     answered at once           clock stops
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta

from benchmarks.node import clean_environment, stop
from cache_protocol.manifest import File, Lease, Manifest, Model, dump_manifest

_SIZE = 64 * 2**20  # bytes that the canned file claims to have
_LIMIT = 10.0  # seconds to wait for a connection
_HEAD = 65536  # bytes; no request head is longer


def first_request(times: int) -> list[float]:
    """Return the seconds from exec to the first range request, ``times`` times over."""
    return [_once() for _ in range(times)]


def _once() -> float:
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryDirectory() as to:
        listener.settimeout(_LIMIT)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "replica_agent", "pull", "--pipeline", "canned"]
        environment = clean_environment(REPLICA_AGENT_SERVER=url, REPLICA_AGENT_TOKEN="none")
        begun = time.perf_counter()
        agent = subprocess.Popen(
            [*command, "--to", to],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return _seen_after(listener, url) - begun
        finally:
            agent.kill()
            stop(agent)


def _seen_after(listener: socket.socket, url: str) -> float:
    kept: list[socket.socket] = []  # a connection that closed would be tried again
    try:
        while True:
            connection, _ = listener.accept()
            kept.append(connection)
            connection.settimeout(_LIMIT)
            request = connection.recv(_HEAD).lower()
            if b"/manifest" in request.split(b"\r\n", 1)[0]:
                connection.sendall(_answer(url))
            elif b"\r\nrange: bytes=" in request and b" /files/" in request:
                return time.perf_counter()
    finally:
        for connection in kept:
            connection.close()


def _answer(url: str) -> bytes:
    here = f"{url}/%s/{'0' * 32}/model/model.safetensors?expires=1&ticket=x"
    urls = (here % "files",), here % "digests", here % "verdicts"
    file = File("model.safetensors", _SIZE, None, *urls)
    lease = Lease("canned", datetime.now(UTC) + timedelta(seconds=120))
    model = Model("file:///canned", "canned", (file,))
    body = json.dumps(dump_manifest(Manifest("canned", "0" * 32, lease, {"model": model})))
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\nConnection: close\r\n\r\n{body}".encode()


if __name__ == "__main__":
    print(json.dumps(first_request(int(sys.argv[1]) if sys.argv[1:] else 10)))
