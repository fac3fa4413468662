import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize, safe_open

from cache_protocol.errors import MalformedError
from cache_protocol.ranges import Span
from cache_protocol.safetensors_header import (
    BITS,
    MAX_HEADER,
    PREFIX,
    TensorEntry,
    header_size,
    parse_header,
)

TORCH = dict(safetensors.torch._TYPES)
NUMPY = dict(safetensors.numpy._TYPES)


def ours(data: bytes) -> tuple[TensorEntry, ...]:
    n = header_size(data[:PREFIX], file_size=len(data))
    return parse_header(data[PREFIX : PREFIX + n], file_size=len(data))


def library_accepts(data: bytes) -> bool:
    try:
        deserialize(data)
    except SafetensorError:
        return False
    return True


def assert_both_read_the_same(data: bytes) -> None:
    theirs = {
        name: (t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in deserialize(data)
    }
    read = {e.name: (e.dtype, e.shape, data[e.span.begin : e.span.end]) for e in ours(data)}
    assert read == theirs


names = st.text(max_size=12).filter(lambda name: name != "__metadata__")
shapes = st.lists(st.integers(0, 3), max_size=4).map(tuple)


def torch_tensor(dtype: str, shape: tuple[int, ...]) -> torch.Tensor:
    count = int(np.prod(shape, dtype=np.int64)) * BITS[dtype] // 8
    octets = torch.arange(count, dtype=torch.int64).remainder(2).to(torch.uint8)
    return octets.view(TORCH[dtype]).reshape(shape)


torch_tensors = st.builds(torch_tensor, st.sampled_from(sorted(TORCH)), shapes)
numpy_arrays = st.builds(lambda d, s: np.zeros(s, NUMPY[d]), st.sampled_from(sorted(NUMPY)), shapes)
notes = st.dictionaries(st.text(max_size=8), st.text(max_size=8), min_size=1, max_size=3)
metadata = st.none() | notes  # not {}: safetensors 0.8 then writes '{},"__metadata__":{}}'


@given(st.dictionaries(names, torch_tensors, max_size=6), metadata)
def test_every_file_that_torch_writes_is_read_as_the_library_reads_it(tensors, metadata):
    assert_both_read_the_same(safetensors.torch.save(tensors, metadata))


@given(st.dictionaries(names, numpy_arrays, max_size=6), metadata)
def test_every_file_that_numpy_writes_is_read_as_the_library_reads_it(arrays, metadata):
    assert_both_read_the_same(safetensors.numpy.save(arrays, metadata))


@pytest.mark.parametrize("dtype", sorted(TORCH))
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 2), (2, 3)])
def test_every_dtype_is_read_empty_scalar_and_full(dtype: str, shape: tuple[int, ...]):
    data = safetensors.torch.save({"t": torch_tensor(dtype, shape)})
    (entry,) = ours(data)
    assert (entry.dtype, entry.shape) == (dtype, shape)
    assert_both_read_the_same(data)


def test_a_file_on_disk_has_the_slices_that_safe_open_hands_out(tmp_path: Path):
    file = tmp_path / "m.safetensors"
    made = {f"layer.{n}": torch.arange(n, dtype=torch.float32) for n in range(20)}
    safetensors.torch.save_file(made, file, {"format": "pt"})
    data = file.read_bytes()
    with safe_open(file, "pt") as theirs:
        assert {e.name for e in ours(data)} == set(theirs.keys())
        for entry in ours(data):
            view = np.frombuffer(data[entry.span.begin : entry.span.end], "<f4")
            assert np.array_equal(view, theirs.get_tensor(entry.name).numpy())


def test_a_thousand_tensors_come_in_the_order_of_their_bytes():
    arrays = {f"t{n}": np.full(n % 7, n % 256, np.uint8) for n in range(1000)}
    entries = ours(safetensors.numpy.save(arrays))
    assert len(entries) == 1000
    assert all(a.span.end == b.span.begin for a, b in pairwise(entries))


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_the_library_knows_each_dtype_of_the_table_at_its_width(dtype: str):
    assert library_accepts(encode({"t": tensor(dtype, [8], 0, BITS[dtype])}, BITS[dtype]))
    assert not library_accepts(
        encode({"t": tensor(dtype, [8], 0, BITS[dtype] + 1)}, BITS[dtype] + 1)
    )


def test_spans_count_from_the_first_byte_of_the_file():
    data = encode({"t": tensor("U8", [3], 0, 3)}, 3)
    assert ours(data) == (TensorEntry("t", "U8", (3,), Span(len(data) - 3, len(data))),)


def test_a_file_without_tensors_has_none():
    assert ours(encode({}, 0)) == ()


def test_a_header_of_the_largest_size_is_within_the_limit():
    assert header_size(MAX_HEADER.to_bytes(8, "little"), file_size=MAX_HEADER + 8) == MAX_HEADER


# --- mutations: what we accept, the library accepts


def tensor(dtype, shape, begin, end) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def encode(header: object, data_size: int) -> bytes:
    return encode_text(json.dumps(header).encode(), data_size)


def encode_text(header: bytes, data_size: int) -> bytes:
    return len(header).to_bytes(8, "little") + header + bytes(data_size)


def assert_no_more_lenient(data: bytes) -> None:
    try:
        ours(data)
    except MalformedError:
        return
    assert library_accepts(data)


VALID = safetensors.numpy.save(
    {"a": np.zeros((2, 3), np.float16), "b": np.zeros((), np.uint8), "ü": np.zeros(0, np.int64)},
    {"format": "np", "note": "é"},
)
HEADER_END = PREFIX + int.from_bytes(VALID[:PREFIX], "little")
PIECES = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"0",
    b"-0",
    b"1e3",
    b"null",
    b"true",
    b"NaN",
    b" ",
]
PIECES += [
    b"\\ud800",
    b"\\u0000",
    b'"a":',
    b'"dtype":"U8",',
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
]


@given(
    st.integers(PREFIX, HEADER_END),
    st.integers(0, 3),
    st.sampled_from(PIECES) | st.binary(max_size=3),
)
def test_a_header_with_a_piece_replaced_is_never_accepted_by_us_alone(at, gone, piece):
    header = VALID[PREFIX:at] + piece + VALID[at + gone : HEADER_END]
    assert_no_more_lenient(encode_text(header, len(VALID) - HEADER_END))


@given(st.data())
def test_a_file_with_flipped_bits_is_never_accepted_by_us_alone(data):
    mutated = bytearray(VALID)
    for at in data.draw(st.lists(st.integers(0, HEADER_END - 1), min_size=1, max_size=3)):
        mutated[at] ^= 1 << data.draw(st.integers(0, 7))
    assert_no_more_lenient(bytes(mutated))


@given(st.integers(0, len(VALID)), st.binary(max_size=4))
def test_a_file_cut_short_or_with_bytes_behind_it_is_never_accepted_by_us_alone(length, more):
    assert_no_more_lenient(VALID[:length] + more)


counts = st.integers(0, 9) | st.sampled_from([-1, 2**32, 2**63 - 1, 2**63, 2**64, 10**30])
values = st.recursive(
    counts | st.none() | st.booleans() | st.floats() | st.text(st.characters(), max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)
fields = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["U8", "F4", "F32", "u8"]) | values,
        "shape": st.lists(counts, max_size=3) | values,
        "data_offsets": st.tuples(counts, counts) | values,
    },
    optional={"extra": values},
)
headers = st.dictionaries(
    st.sampled_from(["a", "b", "", "__metadata__"]), fields | values, max_size=3
)


@given(headers | values, st.integers(0, 40))
def test_a_header_of_any_json_is_never_accepted_by_us_alone(header, size: int):
    assert_no_more_lenient(encode(header, size))


@st.composite
def nearly_valid(draw: st.DrawFn) -> bytes:
    """Tensors that tile the data, with one offset, count or dtype perhaps a little wrong."""
    header, at = {}, 0
    for n, (dtype, shape) in enumerate(
        draw(st.lists(st.tuples(st.sampled_from(sorted(BITS)), shapes), max_size=4))
    ):
        end = at + int(np.prod(shape, dtype=np.int64)) * BITS[dtype] // 8
        header[str(n)] = tensor(dtype, list(shape), at, end + draw(st.sampled_from([0, 0, 0, 1])))
        at = end
    return encode(header, at + draw(st.sampled_from([0, 0, 0, 1])))


@given(nearly_valid())
def test_we_and_the_library_agree_on_tensors_that_nearly_tile_the_file(data: bytes):
    try:
        ours(data)
        accepted = True
    except MalformedError:
        accepted = False
    assert accepted == library_accepts(data)
