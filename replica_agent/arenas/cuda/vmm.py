"""Device memory that another process can map: the driver's virtual memory calls.

    share    create ─> export ──descriptor──┐      adopt    import
               └────> map                   └──────────────>  └────> map

The memory belongs to its mappings and descriptors, in whatever processes: it outlives the one that
made it, and it is free when the last of them has gone, also by a death. Sizes are rounded up to
what the driver maps at a time, at both ends alike.

Source: CUDA's driver API, cuMemRelease ("including its shareable counterparts").
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

Call = Callable[..., tuple[Any, ...]]  # a call of the driver by its name; DriverError if it fails


class VirtualMemory:
    """Mappings of one device's memory. Every call wants the device's context to be current."""

    def __init__(self, cuda: Any, index: int, call: Call) -> None:  # noqa: ANN401 - no types
        """Use the module ``cuda`` for its structures and constants, and ``call`` for its calls."""
        self._call = call
        self._posix = cuda.CUmemAllocationHandleType.CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR
        self._step = cuda.CUmemAllocationGranularity_flags.CU_MEM_ALLOC_GRANULARITY_RECOMMENDED
        self._kind = cuda.CUmemAllocationProp()
        self._kind.type = cuda.CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED
        self._kind.location.type = cuda.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        self._kind.location.id = index
        self._kind.requestedHandleTypes = self._posix
        self._access = cuda.CUmemAccessDesc()
        self._access.location.type = cuda.CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE
        self._access.location.id = index
        self._access.flags = cuda.CUmemAccess_flags.CU_MEM_ACCESS_FLAGS_PROT_READWRITE
        self._sizes: dict[int, int] = {}  # of what is mapped, by address

    def share(self, size: int) -> tuple[int, int]:
        """Implement ``Device.share``."""
        whole = self._whole(size)
        with ExitStack() as undo:
            (handle,) = self._call("cuMemCreate", whole, self._kind, 0)
            with self._let_go_of(handle):
                (descriptor,) = self._call("cuMemExportToShareableHandle", handle, self._posix, 0)
                undo.callback(os.close, int(descriptor))
                os.set_inheritable(int(descriptor), False)
                address = self._map(handle, whole, undo)
            undo.pop_all()
        return address, int(descriptor)

    def adopt(self, descriptor: int, size: int) -> int:
        """Implement ``Device.adopt``."""
        whole = self._whole(size)
        with ExitStack() as undo:
            (handle,) = self._call("cuMemImportFromShareableHandle", descriptor, self._posix)
            with self._let_go_of(handle):
                address = self._map(handle, whole, undo)
            undo.pop_all()
        return address

    def unmap(self, address: int) -> None:
        """Implement ``Device.unmap``."""
        size = self._sizes.pop(address)
        self._call("cuMemUnmap", address, size)
        self._call("cuMemAddressFree", address, size)

    def _whole(self, size: int) -> int:
        (step,) = self._call("cuMemGetAllocationGranularity", self._kind, self._step)
        return -(-size // int(step)) * int(step)

    def _map(self, handle: Any, size: int, undo: ExitStack) -> int:  # noqa: ANN401 - as above
        """Return the address at which the memory is mapped until ``undo`` or ``unmap``."""
        (address,) = self._call("cuMemAddressReserve", size, 0, 0, 0)
        undo.callback(self._call, "cuMemAddressFree", address, size)
        self._call("cuMemMap", address, size, 0, handle, 0)
        undo.callback(self._call, "cuMemUnmap", address, size)
        self._call("cuMemSetAccess", address, size, [self._access], 1)
        self._sizes[int(address)] = size
        undo.callback(self._sizes.pop, int(address))
        return int(address)

    @contextmanager
    def _let_go_of(self, handle: Any) -> Iterator[None]:  # noqa: ANN401 - as above
        """Give the handle up at the end: what is mapped needs it no more."""
        try:
            yield
        finally:
            self._call("cuMemRelease", handle)
