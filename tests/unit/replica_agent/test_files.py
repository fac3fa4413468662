import errno
import os
import signal
import subprocess
import sys

import pytest

from cache_protocol.errors import CapacityError, IntegrityError
from replica_agent.client import ControlClient
from replica_agent.files import pull_to
from tests.fakes.node import FakeNode
from tests.fakes.weights import chunks

AGENT = (sys.executable, "-m", "replica_agent")
BODY = chunks(2, more=5)


@pytest.fixture
def node():
    with FakeNode({"asr": {"config.json": b"{}", "sub/w.dat": BODY, "empty": b""}}) as node:
        yield node


def run(node, to):
    with pull_to(ControlClient(node.url), "voice", to) as pull:
        pull.wait()


def tree(to):
    return {str(p.relative_to(to)): p.read_bytes() for p in to.rglob("*") if p.is_file()}


def test_files_lie_below_their_model(node, tmp_path):
    run(node, tmp_path)
    assert tree(tmp_path) == {"asr/config.json": b"{}", "asr/sub/w.dat": BODY, "asr/empty": b""}


def test_a_file_that_is_there_is_replaced_in_one_step(node, tmp_path):
    (tmp_path / "asr").mkdir()
    (tmp_path / "asr/config.json").write_bytes(b"old")
    reader = (tmp_path / "asr/config.json").open("rb")
    run(node, tmp_path)
    with reader:
        assert reader.read() == b"old"
    assert tree(tmp_path)["asr/config.json"] == b"{}"


def test_no_file_has_its_name_before_its_verdict(node, tmp_path):
    node.faults.sha256["asr", "sub/w.dat"] = "0" * 64
    with pytest.raises(IntegrityError):
        run(node, tmp_path)
    assert not (tmp_path / "asr/sub/w.dat").exists()
    assert not [p for p in os.listdir(tmp_path) if p.startswith(".")]


def test_a_full_disk_is_refused_with_numbers_and_leaves_nothing(node, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(CapacityError, match=str(len(BODY) + 2)):
        run(node, tmp_path)
    assert os.listdir(tmp_path) == []


def start(node, to):
    return subprocess.Popen(
        [*AGENT, "pull", "--pipeline", "voice", "--to", str(to), "--server", node.url],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_run_leaves_only_a_hidden_directory_which_the_next_removes(node, tmp_path):
    gate = node.gate("asr", "sub/w.dat", 1)
    with start(node, tmp_path) as process:
        assert node.asked.wait(10)
        process.kill()
    names = [n for n in os.listdir(tmp_path) if n != "asr"]
    assert all(n.startswith(".replica-agent-") for n in names)
    assert not (tmp_path / "asr/sub/w.dat").exists()
    gate.set()
    run(node, tmp_path)
    assert os.listdir(tmp_path) == ["asr"]
    assert tree(tmp_path)["asr/sub/w.dat"] == BODY


def test_the_hidden_directory_of_a_living_run_is_left_alone(node, tmp_path):
    gate = node.gate("asr", "sub/w.dat", 1)
    with pull_to(ControlClient(node.url), "voice", tmp_path) as pull:
        pull.transfer()
        hidden = [n for n in os.listdir(tmp_path) if n.startswith(".")]
        other = FakeNode({"asr": {"x": b"x"}})
        with other:
            run(other, tmp_path)
        assert [n for n in os.listdir(tmp_path) if n.startswith(".")] == hidden
        gate.set()
        pull.wait()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_command_and_leaves_nothing_half(node, tmp_path, number, code):
    node.gate("asr", "sub/w.dat", 1)
    with start(node, tmp_path) as process:
        assert node.asked.wait(10)
        process.send_signal(number)
        assert process.wait(10) == code
        assert process.stderr.read() == ""
    assert not [p for p in os.listdir(tmp_path) if p.startswith(".")]
    assert not (tmp_path / "asr/sub/w.dat").exists()
    assert node.leases == set()
