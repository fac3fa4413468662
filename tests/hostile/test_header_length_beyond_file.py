"""A header length just above the file tries to make the reader read past its end."""

import pytest

from tests.hostile.headers import assert_refused, read


@pytest.mark.parametrize("n", [3, 4, 1000])
def test_a_length_above_the_file_is_refused_with_both_numbers(n: int):
    assert_refused(n.to_bytes(8, "little") + b"{}", f"header of {n} bytes in a file of 10")


def test_the_very_length_of_the_file_is_taken():
    read((2).to_bytes(8, "little") + b"{}")


@pytest.mark.parametrize("size", range(8))
def test_a_file_shorter_than_the_length_itself_is_refused(size: int):
    assert_refused(bytes(size), f"{size} bytes where 8")


def test_a_header_of_no_bytes_is_refused():
    assert_refused(bytes(8))
