"""What a boot asks of its way, and when."""

import time
from datetime import UTC, datetime

from replica_agent.boot import run
from replica_agent.boot.options import Options
from replica_agent.report import Boot
from replica_agent.settings import Settings
from tests.fakes.node import FakeNode


class Way:
    """Of an engine that has its weights at once, and ends when it is settled."""

    in_place = on_device = False
    seen = directory = None
    pull = Boot("voice", "cpu", datetime.now(UTC), (), 0, 0, 0.0, 0.0)

    def __init__(self, _trip):
        """Use what the test has put on this class."""

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


def test_a_way_settles_when_the_engine_is_healthy_and_not_when_it_has_its_weights(
    tmp_path, monkeypatch
):
    seen = []
    monkeypatch.setattr(Way, "seen", seen)
    monkeypatch.setattr(Way, "directory", tmp_path)
    monkeypatch.setattr(run, "MemoryWay", Way)
    monkeypatch.setattr(run, "is_healthy", lambda _: seen.count("release") == 2)
    engine = f"until [ -e {tmp_path}/settled ]; do sleep 0.01; done"
    command = ("sh", "-c", engine, "--load-format", "warmline")
    options = Options("voice", command, health="http://127.0.0.1:1/health")
    with FakeNode({"llm": {}}) as node:
        settings = Settings(node.url, state_dir=tmp_path / "state")
        assert run.boot(settings, options, time.monotonic()) == 0
    assert seen == ["release", "release", "ready", "settle", "release", "close"]
