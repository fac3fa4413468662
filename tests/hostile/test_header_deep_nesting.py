"""Brackets nested 100 000 deep try to overflow the stack of the JSON reader."""

import pytest

from tests.hostile.headers import assert_refused

DEEP = 100_000


@pytest.mark.parametrize("header", [b"[" * DEEP, b'{"a":' * DEEP])
def test_nesting_that_never_closes_is_refused(header: bytes):
    assert_refused(file_of_raw(header))


@pytest.mark.parametrize("depth", [10, 126, 200, DEEP])
def test_nesting_inside_a_tensor_is_refused(depth: int):
    nested = b"[" * depth + b"]" * depth
    field = b'{"t":{"dtype":"U8","shape":%s,"data_offsets":[0,0]}}' % nested
    assert_refused(file_of_raw(field))


def test_nesting_in_a_field_that_no_one_reads_is_refused():
    nested = b"[" * 200 + b"]" * 200
    field = b'{"t":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":%s}}' % nested
    assert_refused(file_of_raw(field))


def file_of_raw(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header
