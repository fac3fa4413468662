"""Another user of the node's host on the socket where files are lent."""

import ctypes
import os
import platform
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fakes.local_peer import LIMIT, Peer, local_node
from tests.fakes.reader import target

NOBODY = 65534
SETRESUID = {"x86_64": 117, "aarch64": 147}.get(platform.machine())  # source: the kernel's tables
SECRET = b"weights"

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


@pytest.fixture
def node(tmp_path):
    with local_node(tmp_path) as node:
        file = node.shelf.add("w.dat", SECRET)
        file.path.chmod(0o600)
        yield node


def let_everybody_in(node):
    """Do what an operator does who puts the socket where others get to."""
    for parent in node.path.parents:
        if parent.stat().st_uid == os.getuid() and str(parent) != "/":
            parent.chmod(parent.stat().st_mode | 0o011)
    node.path.chmod(0o666)


def test_a_socket_for_the_nodes_user_cannot_be_reached(node, nobody):
    let_everybody_in(node)
    node.path.chmod(0o600)
    with pytest.raises(PermissionError):
        nobody(Peer, node.path)


def test_without_a_ticket_another_user_is_lent_nothing(node, nobody):
    def ask():
        with Peer(node.path) as peer:
            peer.hear()
            return peer.ask(target("w.dat").partition("?")[0]), peer.fds

    let_everybody_in(node)
    said, fds = nobody(ask)
    assert (said["code"], fds) == ("ticket", [])


def test_with_one_it_reads_and_can_neither_write_nor_open_the_file_anew(node, nobody):
    def read():
        with Peer(node.path) as peer:
            peer.hear()
            peer.ask(target("w.dat"))
            (fd,) = peer.fds
            again = f"/proc/thread-self/fd/{fd}"
            failed = [
                _refused(os.pwrite, fd, b"x", 0),
                _refused(os.ftruncate, fd, 0),
                _refused(os.fchmod, fd, 0o666),
                _refused(os.open, again, os.O_RDONLY),
                _refused(os.open, again, os.O_RDWR),
            ]
            return os.pread(fd, 99, 0), failed

    let_everybody_in(node)
    content, failed = nobody(read)
    assert content == SECRET
    assert all(failed)


def _refused(call, *words) -> bool:
    try:
        call(*words)
    except OSError:
        return True
    return False
