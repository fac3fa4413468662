"""Another user of the host asks an agent for the memory of its models."""

import ctypes
import os
import platform
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cache_protocol.errors import CacheError
from replica_agent.handover.client import attach
from replica_agent.handover.lines import Lines
from tests.fakes.handover import host
from tests.fakes.node import FakeNode

NOBODY = 65534
SETRESUID = {"x86_64": 117, "aarch64": 147}.get(platform.machine())  # source: the kernel's tables
LIMIT = 30.0  # seconds; nothing here takes one

pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or SETRESUID is None, reason="only root can become another user"
)


def _become_nobody() -> None:
    """Make the calling thread another user; glibc's own call would change all threads."""
    if ctypes.CDLL(None, use_errno=True).syscall(SETRESUID, NOBODY, NOBODY, NOBODY):
        raise OSError(ctypes.get_errno(), "setresuid")


@pytest.fixture
def nobody():
    """A thread of another user, for one task."""
    with ThreadPoolExecutor(1, initializer=_become_nobody) as thread:
        yield lambda task, *words: thread.submit(task, *words).result(LIMIT)


def ask(path: Path) -> dict[str, object] | None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(LIMIT)
        sock.connect(str(path))
        message, fds = Lines(sock).read_with_descriptors()  # it is told before it says a word
        assert not fds
        return message


def test_the_socket_cannot_be_reached(nobody):
    with (
        FakeNode({"llm": {"a.json": b"a"}}) as node,
        host(node) as here,
        pytest.raises(PermissionError),
    ):
        nobody(ask, here.path)


def test_also_where_the_socket_can_be_reached_no_memory_is_given(nobody):
    with FakeNode({"llm": {"a.json": b"a"}}) as node, host(node) as here:
        here.path.parent.chmod(0o755)
        here.path.chmod(0o666)
        answer = nobody(ask, here.path)
        assert answer is not None
        assert "is user 65534, not 0" in str(answer["failed"])
        with attach(here.path, "llm") as attached:  # it goes on for its own user
            attached.wait_confirmed()


def test_an_agent_of_another_user_is_not_believed(nobody):
    with FakeNode({"llm": {"a.json": b"a"}}) as node, host(node) as here:
        here.path.parent.chmod(0o755)
        here.path.chmod(0o666)
        with pytest.raises(CacheError, match="is user 0, not 65534"):
            nobody(attach, here.path, "llm")
