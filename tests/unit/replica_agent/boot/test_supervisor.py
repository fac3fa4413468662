import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.boots import REPOSITORY

_SUPERVISE = """
import sys
from replica_agent.boot.supervisor import Supervisor
with Supervisor() as supervisor:
    supervisor.start(sys.argv[1:])
    code = supervisor.wait()
sys.exit(code)
"""


def supervise(script, *before):
    return subprocess.run(
        [*before, sys.executable, "-c", _SUPERVISE, "sh", "-c", script],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )


def test_the_command_has_our_environment_without_our_token(monkeypatch):
    monkeypatch.setenv("REPLICA_AGENT_TOKEN", "SECRET")
    monkeypatch.setenv("HF_HOME", "/models")
    printed = supervise("env").stdout
    assert "HF_HOME=/models" in printed
    assert "SECRET" not in printed


def test_orphans_are_adopted_and_reaped():
    # The middle shell ends at once: its child would otherwise go to process 1 of the host.
    script = "sh -c 'sh -c \"exit 5\" & echo $!' > /dev/null; sleep 0.05; exit 6"
    assert supervise(script).returncode == 6


def test_leftovers_that_ignore_a_request_are_killed():
    done = supervise("(trap '' TERM; sleep 300 & echo $!; wait) & sleep 0.1; exit 0")
    assert done.returncode == 0
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


def test_a_signal_that_the_caller_ignores_stays_ignored():
    done = subprocess.run(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "-", sys.executable, "-c", _SUPERVISE,
         "sh", "-c", "kill -HUP $PPID; exit 8"],
        cwd=REPOSITORY, timeout=40, check=False,
    )  # fmt: skip
    assert done.returncode == 8


def test_as_process_1_it_passes_signals_on_and_ends_with_the_command():
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", "true"], check=False, stderr=-3
        ).returncode
    ):
        pytest.skip("no right to make a process namespace here")
    script = "trap 'exit 7' TERM; kill -TERM 1; while :; do sleep 0.02; done"
    done = supervise(script, "unshare", "--pid", "--fork", "--mount-proc")
    assert done.returncode == 7, done.stderr


def test_ctrl_c_reaches_the_command_once_and_the_terminal_comes_back():
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.02; done"
    keyboard, terminal = pty.openpty()
    # Whoever runs the tests in the background has them ignore Ctrl-C, and a shell that starts so
    # cannot trap it.
    alone = ["env", "--default-signal", "setsid", "--ctty", "--wait"]
    command = [*alone, sys.executable, "-c", _SUPERVISE, "sh", "-c", script]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        said = b""
        while b"ready" not in said:
            said += os.read(keyboard, 1000)
        os.write(keyboard, b"\x03")
        while b"caught" not in said:
            said += os.read(keyboard, 1000)
        assert process.wait(40) == 9
    assert said.count(b"caught") == 1
    os.close(keyboard)


_SUPERVISE_IMMORTALS = """
import sys
from replica_agent.boot import supervisor
supervisor.GRACE = 0.1
supervisor._kill = lambda pid, number: None  # as for one that hangs in a driver
with supervisor.Supervisor() as running:
    running.start(sys.argv[1:])
    code = running.wait()
sys.exit(code)
"""


def test_what_cannot_be_killed_does_not_keep_us_from_ending():
    script = "sleep 300 > /dev/null 2>&1 & echo $!; exit 7"
    done = subprocess.run(
        [sys.executable, "-c", _SUPERVISE_IMMORTALS, "sh", "-c", script],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=40, check=False,
    )  # fmt: skip
    os.kill(int(done.stdout), signal.SIGKILL)
    assert done.returncode == 7
