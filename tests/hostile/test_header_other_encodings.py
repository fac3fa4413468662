"""A header in UTF-16, behind a BOM or in broken UTF-8 tries to read differently elsewhere."""

import pytest

from tests.hostile.headers import assert_refused, file_of

TEXT = '{"ü":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_another_encoding_than_plain_utf_8_is_refused(encoding: str):
    assert_refused(file_of(TEXT.encode(encoding), 1))


def test_latin_1_is_refused():
    assert_refused(file_of(TEXT.encode("latin-1"), 1))


@pytest.mark.parametrize("octets", [b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"])
def test_broken_utf_8_in_a_name_is_refused(octets: bytes):
    assert_refused(file_of(TEXT.encode().replace("ü".encode(), octets), 1))


def test_the_message_about_a_large_broken_header_is_short():
    assert_refused(file_of(b"\xff" * 1_000_000))
