"""The bytes of one file where its arena has them, as tensors, arrays and bytes.

In host memory all of them are views. On a device tensors are views of the device's memory; what
is asked for on the host (headers, arrays, bytes) is copied back. Sees only what was accepted.
"""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from cache_protocol.ranges import Span
from cache_protocol.safetensors_header import TensorEntry
from replica_agent.arenas.cuda.arena import CudaArena
from replica_agent.arenas.cuda.dlpack import Bytes
from replica_agent.arenas.host import HostArena
from replica_agent.ports import Arena
from replica_agent.readiness import Readable
from replica_agent.views import as_array, as_tensor, of_flat

if TYPE_CHECKING:
    import numpy as np
    import torch


class Content(Readable, Protocol):
    """One file. Slices of it are on the host."""

    def tensor(self, entry: TensorEntry) -> "torch.Tensor":
        """Return a tensor of the file on the device that was asked for."""
        ...

    def array(self, entry: TensorEntry) -> "np.ndarray[Any, Any]":
        """Return a tensor of the file as a read-only array."""
        ...


def content_of(arena: Arena, file: int, device: str) -> Content:
    """Return a file of ``arena``; ``device`` is where its tensors were asked for."""
    if isinstance(arena, CudaArena):
        return DeviceContent(arena, file)
    assert isinstance(arena, HostArena), "others are for files"  # noqa: S101 - a bug of ours
    return HostContent(arena.view(file), device)


class HostContent:
    """A file in host memory. Tensors for another device are copied there, one by one."""

    def __init__(self, view: memoryview, device: str) -> None:
        """Look at ``view``; tensors go to ``device``."""
        self._view = view
        self._device = device

    def __len__(self) -> int:
        return len(self._view)

    def __getitem__(self, part: slice) -> memoryview:
        return self._view[part].toreadonly()

    def tensor(self, entry: TensorEntry) -> "torch.Tensor":
        """Implement ``Content``."""
        tensor = as_tensor(self._view, entry)
        return tensor if self._device == "cpu" else tensor.to(self._device)

    def array(self, entry: TensorEntry) -> "np.ndarray[Any, Any]":
        """Implement ``Content``."""
        return as_array(self._view.toreadonly(), entry)


class DeviceContent:
    """A file on a device."""

    def __init__(self, arena: CudaArena, file: int) -> None:
        """Look at ``file`` of ``arena``."""
        self._arena = arena
        self._file = file

    def __len__(self) -> int:
        return self._arena.sizes[self._file]

    def __getitem__(self, part: slice) -> memoryview:
        begin, end, _ = part.indices(len(self))
        copy = memoryview(bytearray(end - begin))
        self._arena.fetch(self._file, Span(begin, end), copy)
        return copy.toreadonly()

    def tensor(self, entry: TensorEntry) -> "torch.Tensor":
        """Implement ``Content``; returns when the bytes have reached the device."""
        self._arena.settle(self._file, entry.span)
        return of_flat(self._flat, entry)

    def array(self, entry: TensorEntry) -> "np.ndarray[Any, Any]":
        """Implement ``Content``, with a copy of the tensor alone."""
        span = entry.span
        copy = self[span.begin : span.end]
        return as_array(copy, replace(entry, span=Span(0, span.size)))

    @cached_property
    def _flat(self) -> "torch.Tensor":
        import torch.utils.dlpack  # noqa: PLC0415 - a second that only tensors are worth

        flat: torch.Tensor = torch.utils.dlpack.from_dlpack(
            Bytes(self._arena.memory, self._arena.places[self._file], len(self))
        )
        return flat
