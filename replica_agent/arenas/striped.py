"""One model in memory of this process, in several memfds side by side under one mapping.

    memory   [stripe 0][stripe 1] … [stripe 7][stripe 8] …     one range of addresses
    memfd        0         1            7         0

The kernel lets one thread at a time write to a memfd, and has the others spin: four threads came to
2.4 GB/s and 0.8 CPU seconds for a GB, and to 4.6 and 0.45 with a memfd each. Lanes take stripes as
they come, so there are eight: whole loads on one host went from 2.2 to 3.6 GB/s (row ``local`` in
docs/benchmarks.md). For who loads in process: another process is handed one memfd, see ``host``.
"""

import ctypes
import mmap
import os
from pathlib import Path

from cache_protocol.errors import CapacityError
from cache_protocol.manifest import Model
from cache_protocol.ranges import Span
from replica_agent.arenas.bounce import write_at
from replica_agent.arenas.host import HostArena, seal, sealed_memory

STRIPE = 32 * 2**20  # bytes: what a lane asks for at a time, so that it mostly has one to itself
MEMFDS = 8  # for four lanes: two of them seldom meet in one
_READ_WRITE = mmap.PROT_READ | mmap.PROT_WRITE
_MAP_FIXED = 0x10  # source: asm-generic/mman-common.h; the mmap module does not name it


class StripedArena(HostArena):
    """The files of one model. Safe for threads: each byte has one writer."""

    def __init__(self, name: str, model: Model) -> None:
        """Make room for ``model``; no page is touched yet. OSError where the kernel refuses."""
        self._fds: list[int] = []  # and no ``fd``, which could be handed on
        super().__init__(name, model)

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Write ``data`` to its place, which may lie in two stripes."""
        at = self.places[file] + span.begin
        try:
            while data:
                stripe, begin = divmod(at, STRIPE)
                part = data[: STRIPE - begin]
                row, number = divmod(stripe, MEMFDS)
                write_at(self._fds[number], part, row * STRIPE + begin)
                data, at = data[len(part) :], at + len(part)
        except OSError as error:
            raise CapacityError(f"the arena takes no more bytes: {error}") from error

    def seal(self) -> None:
        """Keep everybody from writing to what is confirmed; nothing happens once it is closed."""
        with self._closing:
            for fd in self._fds:
                seal(fd)

    def close(self) -> None:
        """Close the descriptors; the memory goes with the last view of it."""
        with self._closing:
            while self._fds:
                os.close(self._fds.pop())

    def _mapped(self, name: str, disk: Path | None) -> mmap.mmap:  # noqa: ARG002 - never there
        stripes = max(1, -(-self.places[-1] // STRIPE))
        memory = mmap.mmap(-1, stripes * STRIPE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        try:
            for number in range(min(MEMFDS, stripes)):
                rows = -(-stripes // MEMFDS)
                self._fds.append(sealed_memory(f"{name}-{number}", rows * STRIPE))
            _lay(memory, stripes, self._fds)
        except OSError:
            self.close()
            raise
        return memory


def striped_arena(name: str, model: Model, disk: Path | None) -> HostArena:
    """Return an arena in memory; where ``disk`` is to be used, a file there after all."""
    return StripedArena(name, model) if disk is None else HostArena(name, model, disk)


def _lay(memory: mmap.mmap, stripes: int, fds: list[int]) -> None:
    """Put stripes of the memfds over ``memory``, which keeps the addresses and gives them back."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
        *(ctypes.c_int, ctypes.c_int, ctypes.c_int64),
    )
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    flags = mmap.MAP_SHARED | _MAP_FIXED
    for stripe in range(stripes):
        row, number = divmod(stripe, MEMFDS)
        place = base + stripe * STRIPE
        found = libc.mmap(place, STRIPE, _READ_WRITE, flags, fds[number], row * STRIPE)
        if found != place:
            error = ctypes.get_errno()
            raise OSError(error, f"a stripe cannot be mapped: {os.strerror(error)}")
