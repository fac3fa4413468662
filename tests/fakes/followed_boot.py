"""A boot whose way notes what it is asked, in a process of its own.

A boot takes over its process: signals, orphans, and the end of every child that is left. One that
ran in pytest's own would end what other tests still use.

    python -m tests.fakes.followed_boot DIRECTORY     # prints the notes, and the exit code
"""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from replica_agent.boot import run
from replica_agent.boot.options import Options
from replica_agent.report import Boot
from replica_agent.settings import Settings
from tests.fakes.node import FakeNode


class Way:
    """Of an engine that has its weights at once, and ends when it is settled."""

    in_place = on_device = False
    directory, seen = Path(), []
    pull = Boot("voice", "cpu", datetime.now(UTC), (), 0, 0, 0.0, 0.0)

    def __init__(self, _trip):
        """Note in ``seen`` what is asked; tell the engine in ``directory``."""

    def prepare(self):
        return {"llm": self.directory}

    def taken(self, _timeout):
        return True

    def note_load(self, _started):
        self.seen.append("ready")

    def leave(self):
        return ()

    def hasten(self):
        pass

    def release(self):
        self.seen.append("release")

    def settle(self):
        self.seen.append("settle")
        (self.directory / "settled").touch()

    def close(self):
        self.seen.append("close")


def main(directory):
    Way.directory = directory = Path(directory)
    run.MemoryWay = Way
    run.is_healthy = lambda _: Way.seen.count("release") == 2
    engine = f"until [ -e {directory}/settled ]; do sleep 0.01; done"
    command = ("sh", "-c", engine, "--load-format", "warmline")
    options = Options("voice", command, health="http://127.0.0.1:1/health")
    with FakeNode({"llm": {}}) as node:
        settings = Settings(node.url, state_dir=directory / "state")
        code = run.boot(settings, options, time.monotonic())
    print(json.dumps({"asked": Way.seen, "code": code}))


if __name__ == "__main__":
    main(*sys.argv[1:])
