"""COMMAND as a child of ours: its signals, its terminal, its orphans and its exit code.

Fit to be process 1 of a container: every signal that ends or informs a program is passed on,
whatever loses its parent becomes our child and is reaped, and nothing that COMMAND started
outlives us. COMMAND is the leader of a process group of its own, so that Ctrl-C reaches it once,
from the terminal, and not a second time from us.
"""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, Self

from replica_agent.children import environment

GRACE = 5.0  # seconds that leftovers of COMMAND have between SIGTERM and SIGKILL
_BLINK = 0.02  # seconds between two looks at leftovers
_SET_CHILD_SUBREAPER = 36  # source: linux/prctl.h
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
_INFORMING = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGCONT)
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # source: POSIX, Shell & Utilities, 2.8.2


class Supervisor:
    """One COMMAND, started at most once. Use in the main thread, in a ``with`` statement."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._child: subprocess.Popen[bytes] | None = None
        self._starting = False
        self._over = False
        self._leaving = False
        self._pending: list[int] = []
        self._before: dict[int, Any] = {}  # what ``signal`` gave
        self._terminal = False

    def __enter__(self) -> Self:
        for number in (*_ENDING, *_INFORMING):
            # nohup and background shells ignore signals on purpose; COMMAND inherits that.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._child is not None and not self._over:
                self._child.terminate()
            if self._child is not None:
                _end_leftovers()
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def start(self, command: Sequence[str]) -> None:
        """Start COMMAND.

        Raises:
            FileNotFoundError: there is no such program.
            OSError: it cannot be run.
        """
        _adopt_orphans()
        self._starting = True
        try:
            self._child = subprocess.Popen(  # noqa: S603 - it is the job
                command, process_group=0, env=environment()
            )
        finally:
            self._starting = False
        self._lend_terminal(self._child.pid)
        for number in self._pending:
            self._pass_on(number)

    @property
    def running(self) -> bool:
        """Whether COMMAND was started and has not ended."""
        return self._child is not None and not self._over

    def wait(self) -> int:
        """Reap until COMMAND ends; return its code, 128 + n where signal n ended it."""
        assert self._child is not None, "started before"  # noqa: S101 - a bug of ours
        while True:
            # Looked at first, reaped after: a signal in between must not reach a recycled pid.
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            if ended is None:  # only with WNOHANG
                continue
            self._over = ended.si_pid == self._child.pid
            _, status = os.waitpid(ended.si_pid, 0)
            if self._over:
                self._child.returncode = os.waitstatus_to_exitcode(status)
                self._take_terminal_back()
                _end_leftovers()
                code = self._child.returncode
                return code if code >= 0 else 128 - code

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._starting:
            self._pending.append(number)
        elif self._child is not None:
            self._pass_on(number)
        elif number in _ENDING and not self._leaving:
            self._leaving = True
            raise SystemExit(128 + number)

    def _pass_on(self, number: int) -> None:
        if self._child is not None and not self._over:
            with suppress(ProcessLookupError):  # it ended in this moment
                os.kill(self._child.pid, number)

    def _lend_terminal(self, group: int) -> None:
        """Make COMMAND the terminal's foreground, if that is where we are."""
        if not os.isatty(0) or os.tcgetpgrp(0) != os.getpgrp():
            return
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # or the call below would stop us
        os.tcsetpgrp(0, group)
        os.kill(group, signal.SIGCONT)  # it may have read before it was allowed to
        self._terminal = True

    def _take_terminal_back(self) -> None:
        if self._terminal:
            with suppress(OSError):  # the terminal was closed
                os.tcsetpgrp(0, os.getpgrp())
            self._terminal = False


def _adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own; process 1 is that anyway."""
    ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _end_leftovers() -> None:
    """End every process that is still below us: asked first, killed after ``GRACE`` seconds.

    One that hangs in a driver or a dead disk cannot be killed, and is left behind after as long.
    """
    deadline = time.monotonic() + GRACE
    asked: set[int] = set()
    while _reap() and time.monotonic() < deadline:
        for pid in _children() - asked:
            _kill(pid, signal.SIGTERM)
            asked.add(pid)
        time.sleep(_BLINK)
    deadline += GRACE
    while _reap() and time.monotonic() < deadline:
        for pid in _children():
            _kill(pid, signal.SIGKILL)
        time.sleep(_BLINK)


def _reap() -> bool:
    """Reap what has ended; return whether a child is left."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
        return True
    return False


def _children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
