"""Pin tensors of the hand-over where they are, so that an engine's own copies run at full speed.

    memfd     [ file 0 ........ tensor a | tensor b ........ ]
    mapping   [ ........................................... ]      private, not pinned: as it comes
    pieces                    [.. a ..]                            shared, only read, pinned:
                                     [.. b ..]                     a mapping for each tensor

A copy must begin and end in what was registered at once (CUDA's driver API: a region that is
registered in part is CUDA_ERROR_INVALID_VALUE). Tensors do not end at pages, so each has
a mapping of its own, and what two have in common is mapped twice. The mappings are shared: pages of
a private one would be copied by the pin. For loads that write to no tensor they are given: there is
no page to write to. Small tensors, and all where the driver refuses, stay as they came.
"""

import ctypes
import fcntl
import logging
import mmap
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from cache_protocol.units import show_size
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.driver import Device, Driver, DriverError
from replica_agent.engines.ahead import Ahead

Weights = Iterator[tuple[str, torch.Tensor]]
Through = Callable[[Weights], Weights]

LEAST = 2**20  # bytes of a tensor; pinning less costs more than it saves
MOST = 16_384  # pieces; a process may have four times as many mappings in all
WINDOW = 256  # tensors that are looked at ahead
WORKERS = 2  # threads that pin; they stand in the kernel, not in Python
_SEALED = fcntl.F_SEAL_SHRINK  # else a page may go, and who touches it then
_log = logging.getLogger(__name__)


@contextmanager
def registering(
    descriptor: int,
    memory: memoryview,
    device: torch.device,
    load: Callable[[], Driver] = load_driver,
    tell: Callable[[str], None] = _log.info,
) -> Iterator[Through]:
    """Yield what weights go through to be pinned; nothing is pinned any more at the end.

    Args:
        descriptor: of the memory that was handed over; the caller's.
        memory: its mapping in this process, of which tensors are views.
        device: that they are copied to. Only those of CUDA gain anything.
        load: starts the driver.
        tell: hears, for a device of CUDA, how much was pinned, or why nothing was.
    """
    if device.type != "cuda":
        yield as_they_come
        return
    try:
        pins = _pins(descriptor, memory, device, load)
    except _NotPinnedError as why:
        tell(not_pinned(str(why)))
        yield as_they_come
        return
    try:
        yield pins.through
    finally:
        words = pins.words()
        pins.close()
        tell(words)


def as_they_come(weights: Weights) -> Weights:
    """Return ``weights``: what they go through where nothing is pinned."""
    return weights


def not_pinned(why: str) -> str:
    """Return what is told of a load that copies from memory that is not pinned."""
    return f"copied from memory that is not pinned: {why}"


class _NotPinnedError(Exception):
    """Why nothing can be."""


def _pins(
    descriptor: int, memory: memoryview, device: torch.device, load: Callable[[], Driver]
) -> "Pins":
    if not _stays(descriptor):
        raise _NotPinnedError("it is files on a disk")
    try:
        return Pins(load().open(device.index or 0), descriptor, memory)
    except DriverError as error:
        _log.warning("weights are copied from memory that is not pinned: %s", error)
        raise _NotPinnedError(str(error)) from None  # the error would keep the device open


class Pins:
    """What is registered of one model's memory. ``through`` is for one load at a time."""

    def __init__(self, device: Device, descriptor: int, memory: memoryview) -> None:
        """Register parts of ``memory``, a mapping of what ``descriptor`` is of, at ``device``."""
        self._device = device
        self._descriptor = descriptor
        self._begin = _address(memory)
        self._end = self._begin + len(memory)
        self._pieces: list[memoryview] = []
        self._refused: str | None = None  # what the driver said
        self._refusing = threading.Lock()

    def through(self, weights: Weights) -> Weights:
        """Yield ``weights``, those that could be pinned by then over pinned memory."""
        with Ahead(weights, self._improved, window=WINDOW, workers=WORKERS).running() as items:
            yield from items

    def pinned(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return ``tensor`` over pinned memory, or as it is where that is not worth it or refused.

        Safe for threads.
        """
        inside = self._begin <= tensor.data_ptr() and _end(tensor) <= self._end
        if (
            not inside
            or tensor.nbytes < LEAST
            or len(self._pieces) >= MOST
            or self._refused is not None
        ):
            return tensor
        try:
            return self._over_a_piece(tensor)
        except (DriverError, OSError) as error:
            self._refuse(error)
            return tensor

    def words(self) -> str:
        """Return how much is pinned, or why nothing is."""
        if self._pieces:
            return f"{show_size(sum(map(len, self._pieces)))} were copied from pinned memory"
        return not_pinned(self._refused or "no tensor was large enough, or there in time")

    def close(self) -> None:
        """Unpin everything, once no copy reads it any more."""
        for piece in self._pieces:
            try:
                self._device.unregister(piece)
            except DriverError as error:  # of a device that failed: the engine will see that
                _log.warning("memory stays pinned: %s", error)
        self._pieces.clear()

    def _improved(self, item: tuple[str, torch.Tensor]) -> tuple[str, torch.Tensor]:
        name, tensor = item
        return name, self.pinned(tensor)

    def _over_a_piece(self, tensor: torch.Tensor) -> torch.Tensor:
        begin = (tensor.data_ptr() - self._begin) // mmap.PAGESIZE * mmap.PAGESIZE
        size = _end(tensor) - self._begin - begin
        piece = _mapped(self._descriptor, begin, -(-size // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._device.register(piece)
        self._pieces.append(piece)
        data = piece[size - tensor.nbytes : size]
        return torch.frombuffer(data, dtype=tensor.dtype).reshape(tensor.shape)

    def _refuse(self, error: Exception) -> None:
        with self._refusing:
            first, self._refused = self._refused is None, str(error)
        if first:
            _log.warning("weights are copied from memory that is not pinned: %s", error)


def _stays(descriptor: int) -> bool:
    """Return whether this is memory that keeps its size: files on disk are not pinned."""
    try:
        return bool(fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _SEALED)
    except OSError:
        return False


def _mapped(descriptor: int, begin: int, size: int) -> memoryview:
    """Map a part of ``descriptor``, shared and only to be read; it goes with its last view.

    The view claims that it can be written to: torch warns of any other, and has no use for it.
    """
    address = _libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, begin)
    if address == _MAP_FAILED:
        error = ctypes.get_errno()
        raise OSError(error, f"a tensor cannot be mapped: {os.strerror(error)}")
    owner = (ctypes.c_ubyte * size).from_address(address)
    weakref.finalize(owner, _libc.munmap, address, size).atexit = False
    return memoryview(owner).cast("B")


def _end(tensor: torch.Tensor) -> int:
    return tensor.data_ptr() + tensor.nbytes


def _address(memory: memoryview) -> int:
    return ctypes.addressof(ctypes.c_ubyte.from_buffer(memory))


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_int64),
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_MAP_FAILED = ctypes.c_void_p(-1).value
