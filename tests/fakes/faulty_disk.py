"""A disk that fails or hangs on command: ext4 on a loop device on a file served by nbdkit.

    ext4 (no journal)  ──>  /dev/loopN, direct I/O  ──>  FUSE file of nbdfuse  ──>  nbdkit
    mounted at ``path``                                                              │ error filter
                                                                              file in a directory

Without a journal, so that the file system itself goes on when the device does. The image is a
sparse file of its own: the machine's own disk never fills up.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

SIZE = 96 * 2**20  # bytes
TOOLS = ("nbdkit", "nbdfuse", "mkfs.ext4", "losetup", "mount", "umount")
LIMIT = 20.0  # seconds; only a broken machine needs them


class FaultyDisk:
    """A mounted file system, and the switches of the device below it."""

    def __init__(self, path: Path, switch: Path, server: "subprocess.Popen[bytes]") -> None:
        self.path = path
        self._switch = switch
        self._server = server

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Answer every read and write of the device with EIO."""
        self._switch.touch()
        try:
            yield
        finally:
            self._switch.unlink()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Answer nothing at all; afterwards everything that waited goes on."""
        self._server.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._server.send_signal(signal.SIGCONT)


@contextmanager
def faulty_disk(scratch: Path) -> Iterator[FaultyDisk]:
    """Mount one below ``scratch``; the test is skipped where it cannot be had."""
    _check_that_it_can_be_had()
    with ExitStack() as stack:
        image, fuse, mounted = scratch / "image", scratch / "device", scratch / "disk"
        switch, socket = scratch / "fail", scratch / "nbd"
        with image.open("wb") as opened:
            opened.truncate(SIZE)
        fuse.mkdir()
        mounted.mkdir()
        server = stack.enter_context(
            _running(
                "nbdkit",
                "-f",
                "-U",
                socket,
                "--filter=error",
                "file",
                image,
                "error=EIO",
                "error-rate=100%",
                f"error-file={switch}",
            )
        )
        _until(socket.exists)
        stack.enter_context(_running("nbdfuse", fuse / "disk", "--unix", socket))
        stack.callback(lambda: _run("umount", "--lazy", fuse))
        _until((fuse / "disk").exists)
        _run("mkfs.ext4", "-q", "-O", "^has_journal", fuse / "disk")
        loop = _run("losetup", "--find", "--show", "--direct-io=on", fuse / "disk")
        stack.callback(lambda: _run("losetup", "--detach", loop))
        _run("mount", "-o", "errors=continue", loop, mounted)
        stack.callback(lambda: _run("umount", mounted))
        yield FaultyDisk(mounted, switch, server)


def _check_that_it_can_be_had() -> None:
    if os.geteuid() or not all(map(os.path.exists, ("/dev/fuse", "/dev/loop-control"))):
        pytest.skip("a disk that fails on command needs root, /dev/fuse and loop devices")
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if missing := [tool for tool in TOOLS if shutil.which(tool, path=path) is None]:
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse(f"a disk that fails on command needs {', '.join(missing)}; .ci/run installs them")


def forget(file: Path) -> None:
    """Drop the copy of ``file`` that is in memory, so that the next read asks the device."""
    fd = os.open(file, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


@contextmanager
def _running(*command: object) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(LIMIT)


def _run(*command: object) -> str:
    done = subprocess.run(
        [str(c) for c in command], capture_output=True, text=True, check=False, timeout=LIMIT
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


def _until(true) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline, "the disk did not come up"
        time.sleep(0.01)
