"""Spoiled safetensors headers: to have us take what the library refuses, or fail in another way."""

from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from cache_protocol.errors import MalformedError
from cache_protocol.safetensors_header import PREFIX, TensorEntry, header_size, parse_header
from tests.hostile.headers import file_of, tensor
from tests.hostile.mutations import ODD, encode, hunt, in_few_words, spoiled, spoiled_json

DATA = 4 * 6 + 8  # bytes behind the header
GOOD = {
    "__metadata__": {"format": "pt"},
    "a": tensor("F32", [2, 3], [0, 24]),
    "b.weight": tensor("U8", [], [24, 25]),
    "b.bias": tensor("BF16", [3, 1], [25, 31]),
    "c": tensor("F4", [2], [31, 32]),
}
TYPES = [*ODD, "F32", "F64", "F4", "f32", "BOOL", [2, 3], [0], [0, 2**62, 4], [24, 24], [31, 33]]
PIECES = [
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"0", b"-0", b"1e3", b"NaN", b" ", b"\t", b"\x00"),
    *(b"\\ud800", b"\\u0061", b'"a":', b'"dtype":"U8",', b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80"),
]


def read(data: bytes) -> tuple[TensorEntry, ...] | None:
    """Return what we read of a file; None where we refuse it, in few words."""
    try:
        n = header_size(data[:PREFIX], file_size=len(data))
        return parse_header(data[PREFIX : PREFIX + n], file_size=len(data))
    except MalformedError as error:
        if not in_few_words(error):
            raise
        return None


def check(data: bytes) -> None:
    """Whatever ``data`` is: we refuse it, or read of it what the library does."""
    entries = read(data)
    if entries is None:
        return
    try:
        theirs = deserialize(data)
    except SafetensorError as error:
        raise AssertionError("the library refuses what we took") from error
    assert {(e.name, e.dtype, e.shape) for e in entries} == {
        (name, field["dtype"], tuple(field["shape"])) for name, field in theirs
    }
    begin = data[:PREFIX] and PREFIX + int.from_bytes(data[:PREFIX], "little")
    for entry in entries:
        assert begin == entry.span.begin <= entry.span.end
        begin = entry.span.end
    assert begin == len(data)


def test_what_the_fuzzers_begin_with_is_good():
    assert len(read(file_of(GOOD, DATA)) or ()) == 4
    check(file_of(GOOD, DATA))


@hunt(500)
@given(spoiled_json(GOOD, TYPES), st.sampled_from([DATA, DATA, DATA, 0, DATA + 1, DATA - 1]))
def test_a_header_of_spoiled_structure_is_refused_or_read_as_the_library_does(header, size):
    check(file_of(header, size))


@hunt(500)
@given(spoiled(encode(GOOD).encode(), PIECES, most=2), st.sampled_from([DATA, DATA + 1]))
def test_a_header_of_spoiled_text_is_refused_or_read_as_the_library_does(header, size):
    check(file_of(header, size))


@hunt(500)
@given(spoiled(file_of(GOOD, DATA), PIECES))
def test_a_spoiled_file_is_refused_or_read_as_the_library_does(data):
    check(data)
