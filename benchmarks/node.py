"""Start a real node as a process, find where it listens, and stop it again.

The node picks free ports and writes ``ROOT/node.json`` once it listens. Settings of the caller's
own shell do not reach it: only what is passed here counts.
"""

import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

REPOSITORY = Path(__file__).resolve().parent.parent
_START_LIMIT = 30.0  # seconds; a cold interpreter imports FastAPI and boto3 in about two
_STOP_LIMIT = 15.0  # seconds
_OURS = ("CACHE_SERVER_", "REPLICA_AGENT_")


class NodeError(RuntimeError):
    """The node did not start, or answered a call with an error."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that listens."""

    root: Path
    pid: int
    control: str  # URL
    log: Path  # what it wrote to stderr
    token: str  # has every right; read once, since a test may break the node's disk
    ca: Path | None = None  # whose certificates are believed, where it speaks TLS

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the JSON answer of one call to the control plane.

        Raises:
            NodeError: the answer is no success; the text is the node's own.
        """
        connection = self._connection()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 400:
            raise NodeError(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return json.loads(text) if text else None

    def _connection(self) -> HTTPConnection:
        place = urlsplit(self.control).netloc
        if self.ca is None:
            return HTTPConnection(place, timeout=600)
        trust = ssl.create_default_context(cafile=self.ca)
        return HTTPSConnection(place, timeout=600, context=trust)

    def put(self, pipeline: str, models: dict[str, str]) -> None:
        """Register ``models``, name to source, as ``pipeline``."""
        fields = [{"name": name, "source": source} for name, source in models.items()]
        self.call("PUT", f"/v1/pipelines/{pipeline}", {"models": fields})

    def warm(self, pipeline: str, *, limit: float = 600) -> None:
        """Start the fill of ``pipeline`` and wait until it is warm.

        Raises:
            NodeError: the fill failed, or took more than ``limit`` seconds.
        """
        self.call("POST", f"/v1/pipelines/{pipeline}/warm", {})
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            cache = self.call("GET", f"/v1/pipelines/{pipeline}")["cache"]
            if cache["warm"]:
                return
            if cache["state"] == "cold" and cache.get("last_error"):
                raise NodeError(f"{pipeline} failed: {cache['last_error']}")
            time.sleep(0.02)
        raise NodeError(f"{pipeline} is not warm after {limit} s")

    def slot_files(self, pipeline: str) -> list[Path]:
        """Return the weight files on disk that the node serves for ``pipeline``, in order."""
        generation = self.call("GET", f"/v1/pipelines/{pipeline}")["cache"]["generation"]
        found = [p for p in self.root.rglob("*.safetensors") if generation in p.parts]
        if not found:
            raise NodeError(f"no weights of generation {generation} below {self.root}")
        return sorted(found)


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without our settings, so that a shell's do not leak in.

    Replicas read over the network, although their node is on this host, unless ``extra`` says
    otherwise: what is tested and measured is what a region does.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS)}
    ours = {"PYTHONPATH": str(REPOSITORY), "REPLICA_AGENT_LOCAL_SOCKET": "off"}
    return {**kept, **ours, **extra}


@contextmanager
def running_node(
    root: Path,
    *flags: str,
    env: dict[str, str] | None = None,
    program: Sequence[str] = ("cache_server",),
) -> Iterator[Node]:
    """Run a node on ``root`` for the length of the block; free ports, loopback only.

    ``program`` is the module to run, and what it is told before ``serve``.

    Raises:
        NodeError: it ended or did not listen in time; the text ends in its last words.
    """
    root.mkdir(parents=True, exist_ok=True)
    log = root.with_name(root.name + ".log")
    command = [sys.executable, "-m", *program, "serve", "--root", str(root)]
    command += ["--host", "127.0.0.1", "--port", "0", "--data-port", "0"]
    # Replicas that a test or a run has killed hold their leases: nobody is to wait for them.
    command += ["--drain", "PT0S", *flags]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            command, env=clean_environment(**(env or {})), stderr=stderr, stdout=stderr
        )
    try:
        yield _wait_until_it_listens(root, process, log)
    finally:
        stop(process)


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def stop(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    """End ``process``: asked first, killed if it does not listen."""
    process.terminate()
    try:
        process.wait(_STOP_LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_it_listens(root: Path, process: "subprocess.Popen[bytes]", log: Path) -> Node:
    deadline = time.monotonic() + _START_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        fields = _read_if_whole(root / "node.json")
        if fields.get("pid") == process.pid:  # not the file of an earlier node
            token = (root / "admin-token").read_text().strip()
            return Node(root, process.pid, fields["control"], log, token)
        time.sleep(0.01)
    words = log.read_text(errors="replace")[-2000:]
    raise NodeError(f"the node does not listen (exit code {process.poll()}):\n{words}")


def _read_if_whole(path: Path) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}  # not there yet, or being written
    return fields
