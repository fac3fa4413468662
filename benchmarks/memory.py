"""Memory as a replica has it: a memfd for a set of files, mapped, with huge pages if there are."""

import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cache_protocol.ranges import Span, cut


class Piece(NamedTuple):
    """A span of one file, and where its bytes go in memory."""

    file: int
    span: Span
    at: int


def new_memory(files: list[Path]) -> memoryview:
    """Return memory for all bytes of ``files``; pages come when they are written."""
    size = sum(path.stat().st_size for path in files)
    fd = os.memfd_create("benchmark")
    os.ftruncate(fd, size)
    mapping = mmap.mmap(fd, size)
    os.close(fd)
    with suppress(OSError):  # a kernel without huge pages for shared memory; as in the agent
        mapping.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(mapping)


def pieces(files: list[Path], size: int) -> Iterator[Piece]:
    """Yield all bytes of ``files``, laid one after the other, in pieces of ``size``.

    The iterator is over a list, so threads may share it: each ``next`` is one bytecode call.
    """
    found: list[Piece] = []
    base = 0
    for n, path in enumerate(files):
        whole = Span(0, path.stat().st_size)
        found += [Piece(n, span, base + span.begin) for span in cut(whole, size)]
        base += whole.end
    return iter(found)
