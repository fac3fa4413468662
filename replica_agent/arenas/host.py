"""One model in host memory: a memfd, each file at a page of its own.

    [file 0 ........][file 1 ..][file 2 ....]     one mapping, pages of 4 KiB at the seams
    0                ^ a multiple of PAGE

A memfd can be passed to another process and mapped there without a copy. It is never unmapped
by us: every view that somebody takes keeps the mapping alive, and the last one to go frees it.
"""

import fcntl
import mmap
import os
from collections.abc import Mapping
from contextlib import suppress

from cache_protocol.errors import GenerationGoneError
from cache_protocol.manifest import Manifest, Model
from cache_protocol.ranges import Span
from replica_agent.arenas.room import check_room

PAGE = 4096  # bytes; mmap offsets of single files must be multiples of it
HUGE = 2 * 2**20  # bytes; memory is taken in these where the kernel allows
# Source: linux/fcntl.h; the fcntl module has them since Python 3.8 on glibc ≥ 2.27.
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class HostArena:
    """The files of one model in one memfd. Safe for threads: each byte has one writer."""

    def __init__(self, name: str, model: Model) -> None:
        """Make room for ``model``; no page is touched yet."""
        self.places = place_files([f.size for f in model.files])
        self._sizes = [f.size for f in model.files]
        size = -(-max(self.places[-1], 1) // HUGE) * HUGE
        self.fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, size)
            # A mapping of a file that shrinks kills its reader with SIGBUS.
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
            self._map = mmap.mmap(self.fd, size)
        except OSError:
            os.close(self.fd)
            raise
        with suppress(OSError):  # a kernel without huge pages for shared memory
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self._memory = memoryview(self._map)

    def room(self, file: int, span: Span) -> memoryview:
        """Return the final place of ``span``."""
        base = self.places[file]
        return self._memory[base + span.begin : base + span.end]

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Nothing is left to do: ``data`` is the final place."""

    def confirm(self, file: int) -> None:
        """Nothing is left to do: memory needs no closing act."""

    def view(self, file: int) -> memoryview:
        """Return the bytes of a file; they stay valid as long as the view, or one of it, lives."""
        return self.room(file, Span(0, self._sizes[file]))

    def close(self) -> None:
        """Close the descriptor; the memory goes with the last view of it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def place_files(sizes: list[int]) -> list[int]:
    """Return where each file begins, and where the last one ends, each at a page."""
    places = [0]
    for size in sizes:
        places.append(places[-1] + -(-size // PAGE) * PAGE)
    return places


class HostMemory:
    """The arenas of one pipeline; those of the last generation that was asked for."""

    def __init__(self, limit: int | None = None) -> None:
        """Take at most ``limit`` bytes in all; None: what the host allows."""
        self._limit = limit
        self._generation = ""
        self._arenas: Mapping[str, HostArena] = {}

    def open_arenas(self, manifest: Manifest) -> Mapping[str, HostArena]:
        """Make an arena per model; an ``OpenArenas``.

        Raises:
            CapacityError: with the numbers, before anything is mapped.
        """
        self._arenas = {}  # two generations do not fit side by side
        sizes = ([f.size for f in m.files] for m in manifest.models.values())
        check_room(sum(place_files(s)[-1] for s in sizes), self._limit)
        arenas = {name: HostArena(name, model) for name, model in manifest.models.items()}
        self._generation, self._arenas = manifest.generation, arenas
        return arenas

    def arena(self, generation: str, model: str) -> HostArena:
        """Return the arena of a model; GenerationGoneError when another generation is here."""
        if generation != self._generation:
            raise GenerationGoneError(f"generation {generation} was replaced during the pull")
        return self._arenas[model]
