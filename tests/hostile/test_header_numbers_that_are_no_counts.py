"""Numbers that are no counts (NaN, 1e999, 1.0, -0, true, "1") try to become sizes all the same."""

import pytest

from tests.hostile.headers import assert_refused, file_of

NUMBERS = [
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"1e0",
    b"1.0",
    b"-0",
    b"-1",
    b"true",
    b"null",
]
NUMBERS += [
    b'"1"',
    b"[1]",
    b"{}",
    b"01",
    b"+1",
    b"0x1",
    b"1_0",
    b"9" * 5000,
    b"18446744073709551616",
]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"U8","shape":[%s],"data_offsets":[0,1]}}',
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[%s,1]}}',
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,%s]}}',
    ],
)
def test_what_is_no_count_is_refused_wherever_a_count_stands(header: bytes, number: bytes):
    assert_refused(file_of(header % number, 1))


@pytest.mark.parametrize("number", [b"NaN", b"1e999", b"9" * 400])
def test_what_is_no_number_is_refused_in_a_field_that_no_one_reads(number: bytes):
    header = b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":%s}}' % number
    assert_refused(file_of(header))
