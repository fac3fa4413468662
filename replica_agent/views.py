"""Show a tensor's bytes as a torch tensor or a numpy array, without a copy.

    dtype in the file             torch                      numpy
    F64 … F16, ints, BOOL, C64    the same                   the same
    BF16, F8_*                    the same                   ml_dtypes' where installed, else
                                                             the raw bits: uint16, uint8
    F4                            float4_e2m1fn_x2: two in   raw bytes, one dimension
                                  one, last dimension halved
    F6_*                          raw bytes, one dimension   raw bytes, one dimension

An F4 tensor that is a scalar or has an odd last dimension is raw bytes, too. A tensor whose
place is no multiple of its element size is copied: processors and libraries may refuse it.
torch and numpy are imported here, on first use, and nowhere else in the agent.
"""

import importlib
import importlib.util
import math
from typing import TYPE_CHECKING, Any

from cache_protocol.safetensors_header import BITS, TensorEntry

if TYPE_CHECKING:
    import numpy as np
    import torch

# Source: torch.dtype names of 2.6 and later; safetensors' own names on the left.
_TORCH = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16",
    "U32": "uint32", "I32": "int32", "U64": "uint64", "I64": "int64", "F16": "float16",
    "BF16": "bfloat16", "F32": "float32", "F64": "float64", "C64": "complex64",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
_NUMPY = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "<u2", "I16": "<i2", "U32": "<u4",
    "I32": "<i4", "U64": "<u8", "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8",
    "C64": "<c8",
}  # fmt: skip
_ML_DTYPES = {
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip


def as_tensor(file: memoryview, entry: TensorEntry) -> "torch.Tensor":
    """Return the tensor that ``entry`` describes in ``file``, which must be writable."""
    import torch  # noqa: PLC0415 - a second that only tensors are worth

    dtype, shape = _torch_form(entry)
    if math.prod(shape) == 0:
        # Engines load under a default device of theirs; a view of host memory is on the CPU.
        return torch.empty(shape, dtype=dtype, device="cpu")
    data = _aligned(file[entry.span.begin : entry.span.end], entry)
    return torch.frombuffer(data, dtype=dtype).reshape(shape)


def of_flat(file: "torch.Tensor", entry: TensorEntry) -> "torch.Tensor":
    """Return the tensor that ``entry`` describes in ``file``, all of its bytes, wherever it is."""
    import torch  # noqa: PLC0415 - as above

    dtype, shape = _torch_form(entry)
    if math.prod(shape) == 0:
        return torch.empty(shape, dtype=dtype, device=file.device)
    data = file[entry.span.begin : entry.span.end]
    return (data if _is_aligned(entry) else data.clone()).view(dtype).reshape(shape)


def form_of(entry: TensorEntry) -> "torch.Tensor":
    """Return a tensor without content, on the meta device, that has the form of ``entry``."""
    import torch  # noqa: PLC0415 - as above

    dtype, shape = _torch_form(entry)
    return torch.empty(shape, dtype=dtype, device="meta")


def dtype_name(dtype: "torch.dtype") -> str | None:
    """Return what a file calls ``dtype``, None for one that no file has."""
    known = str(dtype).removeprefix("torch.")
    return next((name for name, other in _TORCH.items() if other == known), None)


def _torch_form(entry: TensorEntry) -> "tuple[torch.dtype, tuple[int, ...]]":
    import torch  # noqa: PLC0415 - as above

    if entry.dtype in _TORCH:
        return getattr(torch, _TORCH[entry.dtype]), entry.shape
    if _pairs(entry) and hasattr(torch, "float4_e2m1fn_x2"):
        return torch.float4_e2m1fn_x2, (*entry.shape[:-1], entry.shape[-1] // 2)
    return torch.uint8, (entry.span.size,)


def as_array(file: memoryview, entry: TensorEntry) -> "np.ndarray[Any, Any]":
    """Return the array that ``entry`` describes in ``file``; read-only where ``file`` is."""
    import numpy as np  # noqa: PLC0415 - a tenth of a second that only arrays are worth

    data = file[entry.span.begin : entry.span.end]
    if BITS[entry.dtype] % 8:
        return np.frombuffer(data, dtype=np.uint8)
    return np.frombuffer(_aligned(data, entry), dtype=_numpy_dtype(entry)).reshape(entry.shape)


def _numpy_dtype(entry: TensorEntry) -> "np.dtype[Any]":
    import numpy as np  # noqa: PLC0415 - as above

    if entry.dtype in _NUMPY:
        return np.dtype(_NUMPY[entry.dtype])
    raw: np.dtype[Any] = np.dtype(np.uint16 if BITS[entry.dtype] == 16 else np.uint8)
    if importlib.util.find_spec("ml_dtypes") is None:
        return raw
    kinds = importlib.import_module("ml_dtypes")
    return np.dtype(getattr(kinds, _ML_DTYPES[entry.dtype], raw))


def _pairs(entry: TensorEntry) -> bool:
    return entry.dtype == "F4" and bool(entry.shape) and entry.shape[-1] % 2 == 0


def _aligned(data: memoryview, entry: TensorEntry) -> memoryview:
    return data if _is_aligned(entry) else memoryview(bytearray(data))


def _is_aligned(entry: TensorEntry) -> bool:
    # Files begin at a page of the arena, so that the place in the file decides.
    return entry.span.begin % max(1, BITS[entry.dtype] // 8) == 0
