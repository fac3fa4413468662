"""Find the tensors in a safetensors file from its first bytes. The caller does the reading.

    [0, 8)         N, the length of the header in bytes: unsigned, little-endian
    [8, 8+N)       JSON: {name: {"dtype", "shape", "data_offsets": [begin, end]}}
    [8+N, size)    tensor data, row-major, little-endian, without holes or overlap

Source: huggingface/safetensors README, section "Format"; checks as in safetensors/src/tensor.rs
(``read_metadata``, ``Metadata::validate``), made stricter where JSON is loose: duplicate keys,
fields that the format does not name, other encodings than UTF-8, NaN, -0, and texts that are no
Unicode are refused. What is accepted here, the library accepts. Offsets in the JSON start at
8+N; ours start at byte 0.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from cache_protocol.errors import MalformedError
from cache_protocol.json_bounds import check_marks
from cache_protocol.names import shown
from cache_protocol.ranges import Span

PREFIX = 8  # bytes that hold N
MAX_HEADER = 100_000_000  # bytes; MAX_HEADER_SIZE in tensor.rs, guards against a hostile N
MAX_RANK = 64  # dimensions, the most that numpy takes; bounds the product below
BITS = {  # per element; Dtype::bitsize in tensor.rs
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
_FIELDS = {"dtype", "shape", "data_offsets"}
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")  # JSON can escape half a pair, which is no text


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """Where one tensor lies in its file."""

    name: str
    dtype: str  # a key of BITS
    shape: tuple[int, ...]  # elements, outermost dimension first; () is a scalar
    span: Span  # bytes from the start of the file


def header_size(prefix: bytes, *, file_size: int) -> int:
    """Return N from the first eight bytes of a file of ``file_size`` bytes.

    Raises:
        MalformedError: ``prefix`` is short, or N is above MAX_HEADER or the file.
    """
    if len(prefix) < PREFIX:
        raise MalformedError(f"{len(prefix)} bytes where {PREFIX} hold the header length")
    n = int.from_bytes(prefix[:PREFIX], "little")
    if n > MAX_HEADER:
        raise MalformedError(f"header of {n} bytes is above the limit of {MAX_HEADER}")
    if n > file_size - PREFIX:
        raise MalformedError(f"header of {n} bytes in a file of {file_size}")
    return n


def parse_header(header: bytes, *, file_size: int) -> tuple[TensorEntry, ...]:
    """Return the tensors of a file in the order of their bytes.

    Args:
        header: the N bytes after the prefix, no more and no less.
        file_size: bytes in the whole file, prefix and header included.

    Raises:
        MalformedError: not JSON of the right form, or of too many values, or the spans do not
            tile the data exactly.
    """
    base = PREFIX + len(header)
    check_marks(header)
    try:
        # decode() first: json.loads would also take UTF-16 and UTF-32.
        text = header.decode()
        fields = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_no_constant,
            parse_int=_digits,
        )
        if _HALF_PAIR.search(text):
            json.dumps(fields, ensure_ascii=False).encode()  # raises when its other half is missing
        _check_metadata(fields.pop("__metadata__", {}))
        entries = sorted((_entry(name, f, base) for name, f in fields.items()), key=_begin)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # Not repr(error): that of a UnicodeDecodeError holds the whole header.
        reason = f"{type(error).__name__}: {error}"
        raise MalformedError(f"header is not a safetensors header: {reason}") from error
    _check_tiling(entries, base, file_size)
    return tuple(entries)


def _check_tiling(entries: list[TensorEntry], base: int, file_size: int) -> None:
    at = base
    for entry in entries:
        if entry.span.begin != at:
            raise MalformedError(f"{shown(entry.name)} starts at {entry.span.begin}, not at {at}")
        at = entry.span.end
    if at != file_size:
        raise MalformedError(f"tensors end at {at}, the file at {file_size}")


def _entry(name: str, field: dict[str, Any], base: int) -> TensorEntry:
    if field.keys() != _FIELDS:
        raise ValueError(f"{shown(name)} has not exactly the fields {sorted(_FIELDS)}")
    begin, end = _counts(field["data_offsets"])
    shape = _counts(field["shape"])
    if field["dtype"] not in BITS:
        raise ValueError(f"unknown dtype {shown(str(field['dtype']))}")
    if begin > end or (end - begin) * 8 != _elements(shape) * BITS[field["dtype"]]:
        raise ValueError(f"{shown(name)}: {field['dtype']}{list(shape)} in {end - begin} bytes")
    return TensorEntry(name, field["dtype"], shape, Span(base + begin, base + end))


def _elements(shape: tuple[int, ...]) -> int:
    if len(shape) > MAX_RANK:
        raise ValueError(f"{len(shape)} dimensions are above {MAX_RANK}")
    total = 1
    for n in shape:
        total *= n
        if total >= 2**63:  # usize overflow in tensor.rs; also refused when a 0 follows
            raise ValueError("more elements than memory can address")
    return total


def _counts(values: object) -> tuple[int, ...]:
    if type(values) is not list:  # a text or map can be walked as well, and "" is no scalar
        raise ValueError("not a list of counts")
    return tuple(_count(n) for n in values)


def _count(value: object) -> int:
    # JSON has one number type; usize in tensor.rs refuses 1.5, -1 and true, so do we.
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not a count")
    return value


def _check_metadata(metadata: object) -> None:
    if type(metadata) is not dict or any(type(v) is not str for v in metadata.values()):
        raise ValueError("__metadata__ is not a map of texts")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key stands twice")
    return fields


def _digits(text: str) -> int:
    if text.startswith("-") or len(text) > 20:  # int() would take -0 for 0; 2**64 has 20 digits
        raise ValueError("not a count")
    return int(text)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _begin(entry: TensorEntry) -> tuple[int, int]:
    return entry.span.begin, entry.span.end
