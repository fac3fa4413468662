"""What the disk alone can do: parallel reads and durable writes, and pages dropped on purpose.

python -m benchmarks.disk LANES FILE …     reads the files into new memory, prints seconds
"""

import errno
import os
import sys
import time
from pathlib import Path

from benchmarks.memory import new_memory, pieces
from benchmarks.threads import together
from cache_protocol.ranges import Span, cut

_BLOCK = 8 * 2**20  # bytes per call


def read(files: list[Path], lanes: int) -> float:
    """Return the seconds it takes to read ``files`` into new memory."""
    begun = time.perf_counter()
    memory = new_memory(files)
    queue = pieces(files, _BLOCK)
    fds = [os.open(path, os.O_RDONLY) for path in files]

    def lane() -> None:
        for piece in queue:
            into, at = memory[piece.at : piece.at + piece.span.size], piece.span.begin
            while into:
                done = os.preadv(fds[piece.file], [into], at)
                into, at = into[done:], at + done

    together(lane, lanes)
    seconds = time.perf_counter() - begun
    for fd in fds:
        os.close(fd)
    return seconds


def write(directory: Path, sizes: list[int], lanes: int) -> float:
    """Return the seconds it takes to write unnamed files of ``sizes`` bytes, fsync included."""
    block = memoryview(os.urandom(_BLOCK))
    begun = time.perf_counter()
    fds = [os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600) for _ in sizes]
    queue = iter(
        [
            (fd, span)
            for fd, size in zip(fds, sizes, strict=True)
            for span in cut(Span(0, size), _BLOCK)
        ]
    )
    for fd, size in zip(fds, sizes, strict=True):
        os.posix_fallocate(fd, 0, size)

    def lane() -> None:
        for fd, span in queue:
            os.pwrite(fd, block[: span.size], span.begin)

    together(lane, lanes)
    for fd in fds:
        os.fsync(fd)
    seconds = time.perf_counter() - begun
    for fd in fds:
        os.close(fd)
    return seconds


def drop_pages(files: list[Path]) -> float:
    """Put ``files`` out of the page cache; return the share of probed blocks that stayed."""
    probed = stayed = 0
    for path in files:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)  # dirty pages are not dropped
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        for span in cut(Span(0, os.fstat(fd).st_size), _BLOCK):
            probed += 1
            stayed += _in_memory(fd, span.begin)
        os.close(fd)
    return stayed / max(1, probed)


def _in_memory(fd: int, at: int) -> bool:
    try:
        return os.preadv(fd, [bytearray(1)], at, os.RWF_NOWAIT) == 1
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
            return False
        raise


if __name__ == "__main__":
    print(read([Path(name) for name in sys.argv[2:]], int(sys.argv[1])))
