"""``replica-agent boot`` as a real process with the stand-in engine, and what came of it.

with Booting(scratch, node.url, "--keep", handover=True) as boot:
    boot.event("attached")
    ...
assert boot.finished() == 0
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT = 40.0  # seconds; only a broken program needs them
PATIENT = "tests.fakes.patient_agent"  # for boots that must not do without plans


def until(true, limit=LIMIT):
    """Return what ``true`` returns, once that is true."""
    deadline = time.monotonic() + limit
    while not (value := true()):
        assert time.monotonic() < deadline, "it never became true"
        time.sleep(0.005)
    return value


class Booting:
    def __init__(
        self, scratch, server, *flags, handover=False, engine=(), command=None, env=None,
        models=("{model}",), pipeline="voice", token=None, python=sys.executable,
        agent="replica_agent",
    ):  # fmt: skip
        scratch.mkdir(parents=True, exist_ok=True)
        self.scratch, self.server, self.pipeline, self.token = scratch, server, pipeline, token
        self.report_file, self.said_file = scratch / "report.json", scratch / "said"
        self.log = scratch / "agent.log"
        fmt = ("--load-format", "warmline") if handover else ()
        words = ("-m", "tests.fakes.engine", "--say", self.said_file, *fmt, *engine, *models)
        self.command = list(map(str, command or (sys.executable, *words)))
        self.flags = [*flags, "--report", self.report_file]
        self.env = env or {}
        self.python, self.agent = python, agent
        self.process = None

    def __enter__(self):
        ours = {k: v for k, v in os.environ.items() if not k.startswith("REPLICA_AGENT_")}
        token = {"REPLICA_AGENT_TOKEN": self.token} if self.token else {}
        state = {"REPLICA_AGENT_STATE_DIR": str(self.scratch / "state")}
        command = [self.python, "-m", self.agent, "boot", "--pipeline", self.pipeline]
        command += ["--server", self.server, *map(str, self.flags), "--", *self.command]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env={**ours, "PYTHONPATH": str(REPOSITORY), **state, **token, **self.env},
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for event in self.events():  # of an agent that was killed
            if "pid" in event and os.path.exists(f"/proc/{event['pid']}"):
                os.kill(event["pid"], signal.SIGKILL)

    def finished(self):
        """Wait for the end; return the exit code."""
        return self.process.wait(LIMIT)

    def signal(self, number):
        self.process.send_signal(number)

    def events(self):
        if not self.said_file.exists():
            return []
        return [json.loads(x) for x in self.said_file.read_text().splitlines()]

    def event(self, name):
        """Wait for an event of the engine and return it."""

        def find():
            gone = self.process.poll() is not None
            found = [e for e in self.events() if e["event"] == name]
            assert found or not gone, (self.events(), self.words())
            return found

        return until(find)[0]

    def report(self, limit=LIMIT):
        """Wait for the report and return it."""
        file = self.report_file
        until(lambda: file.exists() and file.read_text().endswith("}\n"), limit)
        return json.loads(self.report_file.read_text())

    def words(self):
        return self.log.read_text()

    def left(self):
        """What it left behind in its directories."""
        models = self.scratch / "state" / "models"
        return sorted(models.rglob("*")) if models.exists() else []


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]
