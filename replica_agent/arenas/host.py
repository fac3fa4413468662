"""One model in host memory: a memfd, each file at a page of its own.

    [file 0 ........][file 1 ..][file 2 ....]     one mapping, pages of 4 KiB at the seams
    0                ^ a multiple of PAGE

A memfd can be passed to another process and mapped there without a copy. It is never unmapped
by us: every view that somebody takes keeps the mapping alive, and the last one to go frees it.
Where models exceed what memory may be taken, a file without a name on a local disk takes the
memfd's place; it ends with its last descriptor as well.
"""

import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from cache_protocol.errors import CapacityError, GenerationGoneError
from cache_protocol.manifest import Manifest, Model
from cache_protocol.ranges import Span
from replica_agent.arenas.bounce import Bounce, write_at
from replica_agent.arenas.room import check_room

PAGE = 4096  # bytes; mmap offsets of single files must be multiples of it
HUGE = 2 * 2**20  # bytes; memory is taken in these where the kernel allows
# Source: linux/fcntl.h; the fcntl module has them since Python 3.8 on glibc ≥ 2.27.
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
# Source: linux/fcntl.h, Linux 5.1: from now on nobody can write to the memory, nor map it shared
# and writable; our own mapping stays as it is.
_SEAL_FUTURE_WRITE = 0x0010


class HostArena:
    """The files of one model in one memfd. Safe for threads: each byte has one writer."""

    in_place = True

    def __init__(self, name: str, model: Model, disk: Path | None = None) -> None:
        """Make room for ``model``; no page is touched yet.

        Args:
            name: of the memfd, for people who look at /proc.
            model: what will be in it.
            disk: a directory to have a file in, without a name, instead of a memfd.

        Raises:
            OSError: the disk has no room, or its file system no files without a name.
        """
        self.places = place_files([f.size for f in model.files])
        self._sizes = [f.size for f in model.files]
        self.fd = -1  # of memory that can be handed on
        self._closing = threading.Lock()  # what is sealed must not be another's number by then
        self._bounce = Bounce()
        self._map = self._mapped(name, disk)
        with suppress(OSError):  # a kernel without huge pages for shared memory
            self._map.madvise(mmap.MADV_HUGEPAGE)
        self._memory = memoryview(self._map)

    def room(self, file: int, span: Span) -> memoryview:  # noqa: ARG002 - every file is alike
        """Return the calling thread's buffer; see ``bounce`` for why it is not the place."""
        return self._bounce.room(span.size)

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Write ``data`` to its place; pages are mapped when somebody looks at them."""
        try:
            write_at(self.fd, data, self.places[file] + span.begin)
        except OSError as error:
            raise CapacityError(f"the arena takes no more bytes: {error}") from error

    def accept(self, file: int, span: Span) -> None:
        """Nothing is left to do: the bytes are in place."""

    def read(self, file: int, span: Span) -> memoryview:
        """Return the place of ``span``."""
        return self.view(file)[span.begin : span.end]

    def confirm(self, file: int) -> None:
        """Nothing is left to do: memory needs no closing act."""

    def lend(self) -> int:
        """Return a descriptor of the memory, which is the caller's; raises as ``reopened``."""
        return reopened(lambda: self.fd)

    def seal(self) -> None:
        """Keep everybody from writing to what is confirmed; nothing happens once it is closed."""
        with self._closing:
            seal(self.fd)

    def view(self, file: int) -> memoryview:
        """Return the bytes of a file; they stay valid as long as the view, or one of it, lives."""
        base = self.places[file]
        return self._memory[base : base + self._sizes[file]]

    def forget(self) -> None:
        """Give up our own mapping too; nothing can be asked of the arena any more."""
        self.close()
        self._memory = memoryview(b"")
        del self._map

    def close(self) -> None:
        """Close the descriptor; the memory goes with the last view of it."""
        with self._closing:
            fd, self.fd = self.fd, -1  # in this order: a number that is closed is another's soon
            if fd >= 0:
                os.close(fd)

    def _mapped(self, name: str, disk: Path | None) -> mmap.mmap:
        """Make the memory, and return our mapping of it; nothing is left where it cannot be."""
        size = -(-max(self.places[-1], 1) // HUGE) * HUGE
        fd = _memory(name) if disk is None else _file(disk)
        try:
            _stretch(fd, size, on_disk=disk is not None)
            memory = mmap.mmap(fd, size)
        except OSError:
            os.close(fd)
            raise
        self.fd = fd
        return memory


def reopened(number: Callable[[], int]) -> int:
    """Return a descriptor of memory that nobody can write through; it is the caller's.

    Args:
        number: gives the descriptor of the memory, negative once it is closed.

    Raises:
        GenerationGoneError: it was closed meanwhile. Its number may be that of another file by
            now: an arena forgets the number before it closes, so we look twice.
        OSError: this process has no descriptor left.
    """
    gone = GenerationGoneError("the memory was given up; nothing is left to load")
    before = number()
    if before < 0:
        raise gone
    try:
        fd = os.open(f"/proc/self/fd/{before}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise gone from error
    if number() != before:
        os.close(fd)
        raise gone
    return fd


def seal(fd: int) -> None:
    """Keep everybody from writing to confirmed content, also through other descriptors."""
    if fd >= 0:
        with suppress(OSError):  # no memfd, or a kernel before 5.1
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEAL_FUTURE_WRITE)


def sealed_memory(name: str, size: int) -> int:
    """Return a memfd that keeps its size; OSError where the kernel refuses."""
    fd = _memory(name)
    try:
        _stretch(fd, size, on_disk=False)
    except OSError:
        os.close(fd)
        raise
    return fd


def _memory(name: str) -> int:
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def _file(disk: Path) -> int:
    return os.open(disk, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _stretch(fd: int, size: int, *, on_disk: bool) -> None:
    """Give ``fd`` its size for good: a mapping of a file that shrinks kills its reader.

    A disk's blocks are taken now, so that a full disk says so before the first byte, and not
    with SIGBUS in the middle.
    """
    if on_disk:
        os.posix_fallocate(fd, 0, size)
    else:
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)


def place_files(sizes: list[int]) -> list[int]:
    """Return where each file begins, and where the last one ends, each at a page."""
    places = [0]
    for size in sizes:
        places.append(places[-1] + -(-size // PAGE) * PAGE)
    return places


class HostMemory:
    """The arenas of one pipeline; those of the last generation that was asked for."""

    def __init__(
        self,
        limit: int | None = None,
        disk_for: Callable[[int], Path | None] = lambda _: None,
        make: Callable[[str, Model, Path | None], HostArena] = HostArena,
        held: Callable[[], int] = lambda: 0,
    ) -> None:
        """Take at most ``limit`` bytes in all; None: what the host allows.

        ``disk_for`` finds a directory for so many bytes when memory does not suffice; ``make``
        makes one arena, as HostArena or ``striped.striped_arena``; ``held`` says how many bytes
        engines still have of arenas that went before.
        """
        self._make = make
        self.on_disk = False
        self._limit = limit
        self._disk_for = disk_for
        self._held = held
        self._arenas: Mapping[str, HostArena] = {}

    def open_arenas(self, manifest: Manifest) -> Mapping[str, HostArena]:
        """Make an arena per model; an ``OpenArenas``.

        Raises:
            CapacityError: with the numbers, before anything is mapped.
        """
        self._arenas = {}
        sizes = ([f.size for f in m.files] for m in manifest.models.values())
        disk = self._disk(sum(place_files(s)[-1] for s in sizes))
        try:
            return self._open(manifest, lambda name, model: self._make(name, model, disk))
        except OSError as error:
            raise CapacityError(f"no room for the models in {disk or 'memory'}: {error}") from error

    def _open(
        self, manifest: Manifest, make: Callable[[str, Model], HostArena]
    ) -> Mapping[str, HostArena]:
        """Have ``make`` make all arenas, or none."""
        arenas: dict[str, HostArena] = {}
        try:
            for name, model in manifest.models.items():
                arenas[name] = make(name, model)
        except BaseException:
            for arena in arenas.values():
                arena.forget()
            raise
        self._arenas = arenas
        return arenas

    def forget(self) -> None:
        """Give all memory up but what somebody maps or looks at."""
        for arena in self._arenas.values():
            arena.forget()
        self._arenas = {}

    def _disk(self, need: int) -> Path | None:
        """Return where files take the place of memory; None: they need not."""
        self.on_disk = False
        try:
            check_room(need, self._limit, held=self._held())
        except CapacityError as error:
            disk = self._disk_for(need)
            if disk is None:
                raise CapacityError(f"{error}; no local disk has room for them either") from error
            self.on_disk = True
            return disk
        return None
