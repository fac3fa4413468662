"""The real driver, over the package ``cuda-bindings``; written against its versions 12.8 to 13.

Each function there returns a tuple that begins with the status. A device's primary context is
what is opened: torch and every library above the runtime use the same one, so that an address
means the same to all of them. The bindings release the GIL while the driver works.
"""

import ctypes
import logging
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from uuid import UUID

from replica_agent.arenas.cuda.driver import Device, DeviceInfo, Driver, DriverError
from replica_agent.arenas.cuda.vmm import VirtualMemory

_log = logging.getLogger(__name__)
_LONGEST_NAME = 256  # bytes. Source: the size of cudaDeviceProp.name
_CUDA = 2  # kDLCUDA. Source: dlpack.h
_FOR_ALL = 0  # CU_COMPUTEMODE_DEFAULT. Source: cuda.h


def load_driver() -> Driver:
    """Return the driver of this host, started.

    Raises:
        DriverError: the package is not installed, there is no driver, or it does not start.
    """
    try:
        from cuda.bindings import driver  # noqa: PLC0415 - only where a device is asked for
    except ImportError as error:
        raise DriverError(
            f"{error}: install cuda-bindings, which 'warmline[cuda]' brings"
        ) from error
    try:
        _checked(driver, "cuInit", driver.cuInit(0))
    except RuntimeError as error:  # the bindings look for libcuda.so at their first call
        raise DriverError(f"no driver can be loaded: {' '.join(str(error).split())}") from error
    return _Driver(driver)


class _Driver:
    """The host's devices; a ``Driver``."""

    def __init__(self, cuda: Any) -> None:  # noqa: ANN401 - a compiled module without types
        """Use the module ``cuda``, whose ``cuInit`` succeeded."""
        self._cuda = cuda

    def count(self) -> int:
        """Implement ``Driver``."""
        (count,) = _checked(self._cuda, "cuDeviceGetCount", self._cuda.cuDeviceGetCount())
        return int(count)

    def find(self, uuid: str) -> int:
        """Implement ``Driver``."""
        seen = [_uuid(self._cuda, index) for index in range(self.count())]
        if uuid not in seen:
            raise DriverError(
                f"no device here is {uuid}; this process sees {', '.join(seen) or 'none'}"
            )
        return seen.index(uuid)

    def open(self, index: int) -> Device:
        """Implement ``Driver``."""
        return _Device(self._cuda, index)


class _Device:
    """One device's primary context; a ``Device``."""

    def __init__(self, cuda: Any, index: int) -> None:  # noqa: ANN401 - as above
        """Retain the context.

        Raises:
            DriverError: the device is busy (another process has it for itself), or sick.
        """
        self._cuda = cuda
        self._call = partial(_called, cuda)  # not bound to us: what is given it would keep us open
        (self._handle,) = self._call("cuDeviceGet", index)
        (name,) = self._call("cuDeviceGetName", _LONGEST_NAME, self._handle)
        text = name.split(b"\0", 1)[0].decode(errors="replace")
        self.info = DeviceInfo(index, text, _uuid(cuda, index))
        self.dlpack = (_CUDA, index)
        self._attributes: dict[str, int] = {}
        self._handles: dict[int, Any] = {}  # streams and events by address
        self._shared = VirtualMemory(cuda, index, self._call)
        (self._context,) = self._call("cuDevicePrimaryCtxRetain", self._handle)
        weakref.finalize(self, _release, cuda, self._handle, self.info).atexit = False

    def room(self) -> tuple[int, int]:
        """Implement ``Device``."""
        free, total = self._in_context("cuMemGetInfo")
        return int(free), int(total)

    def allocate(self, size: int) -> int:
        """Implement ``Device``; the driver's own addresses are multiples of 256 and more."""
        (address,) = self._in_context("cuMemAlloc", size)
        return int(address)

    def free(self, address: int) -> None:
        """Implement ``Device``."""
        self._in_context("cuMemFree", address)

    def share(self, size: int) -> tuple[int, int]:
        """Implement ``Device``; nobody could take memory of a device that is ours alone."""
        if self._attribute("COMPUTE_MODE") != _FOR_ALL:
            raise DriverError(
                "its compute mode lets one process use it at a time, and an engine needs it too: "
                "nvidia-smi -c DEFAULT"
            )
        with self._current():
            return self._shared.share(size)

    def adopt(self, descriptor: int, size: int) -> int:
        """Implement ``Device``."""
        with self._current():
            return self._shared.adopt(descriptor, size)

    def unmap(self, address: int) -> None:
        """Implement ``Device``."""
        with self._current():
            self._shared.unmap(address)

    def clear(self, address: int, size: int) -> None:
        """Implement ``Device``; our streams do not wait for the one that clears, so we do."""
        with self._current():
            self._call("cuMemsetD8", address, 0, size)
            self._call("cuStreamSynchronize", 0)

    def pin(self, size: int) -> int:
        """Implement ``Device``."""
        (address,) = self._in_context("cuMemHostAlloc", size, self._cuda.CU_MEMHOSTALLOC_PORTABLE)
        return int(address)

    def unpin(self, address: int) -> None:
        """Implement ``Device``."""
        self._in_context("cuMemFreeHost", address)

    def register(self, data: memoryview) -> None:
        """Implement ``Device``; a driver that cannot lock what is only read refuses that."""
        flags = self._cuda.CU_MEMHOSTREGISTER_PORTABLE
        if self._attribute("READ_ONLY_HOST_REGISTER_SUPPORTED"):
            flags |= self._cuda.CU_MEMHOSTREGISTER_READ_ONLY
        self._in_context("cuMemHostRegister", _address(data), len(data), flags)

    def unregister(self, data: memoryview) -> None:
        """Implement ``Device``; what is under way may be anybody's, in any stream."""
        with self._current():
            self._call("cuCtxSynchronize")
            self._call("cuMemHostUnregister", _address(data))

    def open_stream(self) -> int:
        """Implement ``Device``."""
        flags = self._cuda.CUstream_flags.CU_STREAM_NON_BLOCKING
        (stream,) = self._in_context("cuStreamCreate", int(flags))
        return self._kept(stream)

    def drain(self, stream: int) -> None:
        """Implement ``Device``."""
        self._in_context("cuStreamSynchronize", self._handles[stream])

    def close_stream(self, stream: int) -> None:
        """Implement ``Device``."""
        self._in_context("cuStreamDestroy", self._handles.pop(stream))

    def open_event(self) -> int:
        """Implement ``Device``; who waits sleeps, since lanes have the cores."""
        flags = self._cuda.CUevent_flags
        kind = int(flags.CU_EVENT_BLOCKING_SYNC) | int(flags.CU_EVENT_DISABLE_TIMING)
        (event,) = self._in_context("cuEventCreate", kind)
        return self._kept(event)

    def close_event(self, event: int) -> None:
        """Implement ``Device``."""
        self._in_context("cuEventDestroy", self._handles.pop(event))

    def copy_in(self, address: int, data: memoryview, stream: int) -> None:
        """Implement ``Device``."""
        source, size = _address(data), len(data)
        self._in_context("cuMemcpyHtoDAsync", address, source, size, self._handles[stream])

    def copy_in_2d(  # noqa: PLR0913, PLR0917 - as the port
        self,
        address: int,
        stride: int,
        data: memoryview,
        pitch: int,
        run: int,
        runs: int,
        stream: int,
    ) -> None:
        """Implement ``Device``; runs that are too far apart for the device go one by one."""
        if max(stride, pitch) > self._attribute("MAX_PITCH"):
            for n in range(runs):
                self.copy_in(address + n * stride, data[n * pitch :][:run], stream)
            return
        copy = self._cuda.CUDA_MEMCPY2D()
        copy.srcMemoryType = self._cuda.CUmemorytype.CU_MEMORYTYPE_HOST
        copy.srcHost, copy.srcPitch = _address(data), pitch
        copy.dstMemoryType = self._cuda.CUmemorytype.CU_MEMORYTYPE_DEVICE
        copy.dstDevice, copy.dstPitch = address, stride
        copy.WidthInBytes, copy.Height = run, runs
        self._in_context("cuMemcpy2DAsync", copy, self._handles[stream])

    def copy_out(self, data: memoryview, address: int) -> None:
        """Implement ``Device``."""
        self._in_context("cuMemcpyDtoH", _address(data), address, len(data))

    def record(self, event: int, stream: int) -> None:
        """Implement ``Device``."""
        self._in_context("cuEventRecord", self._handles[event], self._handles[stream])

    def wait(self, event: int) -> None:
        """Implement ``Device``."""
        self._in_context("cuEventSynchronize", self._handles[event])

    def _attribute(self, name: str) -> int:
        if name not in self._attributes:
            number = getattr(self._cuda.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
            (value,) = self._call("cuDeviceGetAttribute", number, self._handle)
            self._attributes[name] = int(value)
        return self._attributes[name]

    def _kept(self, handle: Any) -> int:  # noqa: ANN401 - as above
        """Return the number of a handle, and keep the object: calls want that."""
        self._handles[int(handle)] = handle
        return int(handle)

    def _in_context(self, name: str, *arguments: object) -> tuple[Any, ...]:
        with self._current():
            return self._call(name, *arguments)

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Make the device's context the thread's, and then the one that was before."""
        self._call("cuCtxPushCurrent", self._context)
        try:
            yield
        finally:
            self._call("cuCtxPopCurrent")


def _called(cuda: Any, name: str, *arguments: object) -> tuple[Any, ...]:  # noqa: ANN401 - as above
    return _checked(cuda, name, getattr(cuda, name)(*arguments))


def _checked(cuda: Any, call: str, answer: tuple[Any, ...]) -> tuple[Any, ...]:  # noqa: ANN401
    """Return what ``answer`` holds behind its status; DriverError unless that is success."""
    status, *rest = answer
    if status == cuda.CUresult.CUDA_SUCCESS:
        return tuple(rest)
    name = getattr(status, "name", str(status))
    known, text = cuda.cuGetErrorString(status)
    words = text.decode() if known == cuda.CUresult.CUDA_SUCCESS and text else "no description"
    raise DriverError(f"{call} failed with {name}: {words}")


def _uuid(cuda: Any, index: int) -> str:  # noqa: ANN401 - as above
    (handle,) = _checked(cuda, "cuDeviceGet", cuda.cuDeviceGet(index))
    (uuid,) = _checked(cuda, "cuDeviceGetUuid", cuda.cuDeviceGetUuid(handle))
    return f"GPU-{UUID(bytes=bytes(uuid.bytes))}"


def _release(cuda: Any, handle: Any, info: DeviceInfo) -> None:  # noqa: ANN401 - as above
    try:
        _checked(cuda, "cuDevicePrimaryCtxRelease", cuda.cuDevicePrimaryCtxRelease(handle))
    except DriverError as error:  # nobody is there to be told: it runs where references end
        _log.warning("%s was not let go of: %s", info, error)


def _address(memory: memoryview) -> int:
    return ctypes.addressof(ctypes.c_ubyte.from_buffer(memory))
