"""Both programs under test as real processes, and how a test waits for what they do.

Nothing here sleeps to get an overlap: ``until`` looks at a real condition until it is true.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import Condition, Thread
from typing import Any, TypeVar
from urllib.parse import urlsplit

from benchmarks.node import REPOSITORY, Node, clean_environment

T = TypeVar("T")
LIMIT = 40.0  # seconds; only a broken program needs them


def until(true: Callable[[], T], limit: float = LIMIT) -> T:
    """Return what ``true`` returns, once that is true."""
    deadline = time.monotonic() + limit
    while not (value := true()):
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.005)
    return value


# The node.


def cache_of(node: Node, pipeline: str) -> dict[str, Any]:
    """Return the ``cache`` of a pipeline."""
    cache: dict[str, Any] = node.call("GET", f"/v1/pipelines/{pipeline}")["cache"]
    return cache


def last_error(node: Node, pipeline: str) -> dict[str, Any]:
    """Wait for the error of the last attempt and return it."""
    error: dict[str, Any] = until(lambda: cache_of(node, pipeline).get("last_error"))
    return error


def answer(node: Node, method: str, path: str, body: object = None) -> tuple[int, dict[str, Any]]:
    """Return status and JSON of a call, also of one that the node refuses."""
    connection = HTTPConnection(urlsplit(node.control).netloc, timeout=LIMIT)
    headers = {"Authorization": f"Bearer {node.token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        got = connection.getresponse()
        return got.status, json.loads(got.read() or b"{}")
    finally:
        connection.close()


def ports(node: Node) -> tuple[str, ...]:
    """Return the flags that make the next node listen where this one does."""
    fields = json.loads((node.root / "node.json").read_text())
    control, data = (str(urlsplit(fields[plane]).port) for plane in ("control", "data"))
    return ("--port", control, "--data-port", data)


# The commands.


def agent_environment(node: Node) -> dict[str, str]:
    """Return the environment of a replica of ``node``."""
    return clean_environment(REPLICA_AGENT_SERVER=node.control, REPLICA_AGENT_TOKEN=node.token)


def cache_server(*arguments: object, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run ``cache-server`` and return how it ended."""
    command = [sys.executable, "-m", "cache_server", *map(str, arguments)]
    return _finished(command, clean_environment(**env))


def replica_agent(node: Node, *arguments: object, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run ``replica-agent`` against ``node`` and return how it ended."""
    command = [sys.executable, "-m", "replica_agent", *map(str, arguments)]
    return _finished(command, {**agent_environment(node), **env})


def pull(node: Node, pipeline: str, to: Path, *flags: object) -> "subprocess.CompletedProcess[str]":
    """Run ``replica-agent pull`` and return how it ended."""
    return replica_agent(node, "pull", "--pipeline", pipeline, "--to", to, *flags)


@contextmanager
def running(
    module: str, *arguments: object, env: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """Run ``python -m module`` for the length of the block; killed at its end if need be."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        env=env,
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:  # closes the pipes
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _finished(command: list[str], env: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        env=env,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def compare(node: Node, pipeline: str, **sources: Path) -> dict[str, Any]:
    """Load a pipeline's tensors in a fresh process; return how they differ from ``sources``."""
    given = [f"{model}={directory}" for model, directory in sources.items()]
    command = [sys.executable, "-m", "tests.integration.tensors", pipeline, *given]
    done = _finished(command, agent_environment(node))
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# A replica that can be watched.


class Replica:
    """A process of ``tests.integration.replica``, and what it has said so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[dict[str, Any]] = []
        self._changed = Condition()
        self._over = False
        self.reader = Thread(target=self._read, name="replica's words")
        self.reader.start()

    def verified(self, size: int) -> None:
        """Wait until at least ``size`` bytes are in place and checked."""
        self._wait(lambda: any(line.get("verified", 0) >= size for line in self.said))

    def says(self, word: str) -> dict[str, Any]:
        """Wait for a line with ``word`` and return it."""
        self._wait(lambda: any(word in line for line in self.said))
        return next(line for line in self.said if word in line)

    def go(self) -> None:
        """Let a replica that is held go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def finished(self, limit: float = LIMIT) -> dict[str, Any]:
        """Wait for the end; return the last line: ``files``, or ``error``."""
        self.process.wait(limit)
        self.reader.join()
        return self.said[-1]

    def _wait(self, true: Callable[[], bool]) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._over or true(), LIMIT)
            assert true(), self.said[-3:]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.said.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._over = True
            self._changed.notify_all()


@contextmanager
def replica(node: Node, pipeline: str, *flags: object, **env: str) -> Iterator[Replica]:
    """Start a replica that brings ``pipeline`` into memory; killed at the end if need be."""
    env = agent_environment(node) | env
    with running("tests.integration.replica", pipeline, *flags, env=env) as process:
        watched = Replica(process)
        try:
            yield watched
        finally:
            process.kill()
            watched.reader.join()


def kill(pid: int) -> None:
    """End a process as a power cut would."""
    os.kill(pid, signal.SIGKILL)


def exit_code(node: Node) -> int:
    """Wait until ``node`` has ended and return its exit code, which others can still read."""
    wanted = os.WEXITED | os.WNOWAIT | os.WNOHANG
    return until(lambda: os.waitid(os.P_PID, node.pid, wanted)).si_status
