"""Device memory as any tensor library takes it, without a copy: a DLPack capsule.

Always plain bytes in one dimension, so that no dtype has to be known to both sides: torch makes
views of its own dtypes over them. The struct and the memory live until the library says that it
needs them no more, which it does by calling back. At the end of the process that call would come
when no Python is left to take it: then the callbacks are taken out, and the driver has the memory
back anyway.

Source: dlpack.h of DLPack 0.8, structs without a version, which every library still takes.
"""

import atexit
import ctypes
from typing import Any, Protocol

from replica_agent.arenas.cuda.driver import Device

_NAME = b"dltensor"  # a capsule's name; "used_dltensor" once somebody has taken it
_UINT = 1  # kDLUInt


class Memory(Protocol):
    """Memory of a device that stays as long as this object does."""

    @property
    def device(self) -> Device:
        """Whose it is."""
        ...

    @property
    def address(self) -> int:
        """Where it begins."""
        ...


class _Device(ctypes.Structure):
    _fields_ = (("kind", ctypes.c_int32), ("index", ctypes.c_int32))


class _Type(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _Type),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),  # null: compact
        ("byte_offset", ctypes.c_uint64),
    )


class _Managed(ctypes.Structure):
    _fields_ = (
        ("tensor", _Tensor),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


# By address, what a library still uses, with what it is made of.
_lent: dict[int, tuple[_Managed, Any, Memory]] = {}


class Bytes:
    """A part of a device's memory, for ``from_dlpack`` of torch and others."""

    def __init__(self, memory: Memory, begin: int, size: int) -> None:
        """Offer ``size`` bytes, at least 1, from ``begin`` of ``memory`` on."""
        self._memory = memory
        self._begin = begin
        self._size = size

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return kind and index of the device."""
        return self._memory.device.dlpack

    def __dlpack__(self, **_: object) -> object:
        """Return a capsule. Everything was copied before: no stream has to wait for any other."""
        shape = (ctypes.c_int64 * 1)(self._size)
        kind, index = self._memory.device.dlpack
        tensor = _Tensor(
            self._memory.address + self._begin,
            _Device(kind, index),
            1,
            _Type(_UINT, 8, 1),
            shape,
            None,
            0,
        )
        managed = _Managed(tensor, None, ctypes.cast(_returned, ctypes.c_void_p))
        address = ctypes.addressof(managed)
        _lent[address] = (managed, shape, self._memory)
        return _new_capsule(address, _NAME, ctypes.cast(_dropped, ctypes.c_void_p))


def _let_go(address: int) -> None:
    """Drop what the library at ``address`` used."""
    _lent.pop(address, None)


def _drop(capsule: int) -> None:
    """Drop what nobody took out of a capsule."""
    if _is_valid(capsule, _NAME):
        _lent.pop(_pointer(capsule, _NAME), None)


_callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p)  # takes the GIL, whoever calls
_returned, _dropped = _callback(_let_go), _callback(_drop)


@atexit.register
def _forget_all() -> None:
    """Have nobody call back: what is lent stays lent until the process is gone."""
    for managed, _, _ in _lent.values():
        managed.deleter = None
    _keep_for_ever((_lent, _returned, _dropped))


def _prototype(name: str, result: Any, *arguments: Any) -> Any:  # noqa: ANN401 - ctypes' types
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_new_capsule = _prototype(
    "PyCapsule_New", ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)
_is_valid = _prototype("PyCapsule_IsValid", ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)
_pointer = _prototype("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)
_keep_for_ever = _prototype("Py_IncRef", None, ctypes.py_object)
