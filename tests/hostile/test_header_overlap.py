"""Spans that overlap try to let one tensor's bytes be read, or written, as another's."""

import pytest

from tests.hostile.headers import assert_refused, file_of, tensor


@pytest.mark.parametrize("second", [(0, 4), (2, 6), (3, 7), (0, 8)])
def test_two_tensors_that_share_a_byte_are_refused(second: tuple[int, int]):
    begin, end = second
    header = {"a": tensor("U8", [4], [0, 4]), "b": tensor("U8", [end - begin], [begin, end])}
    assert_refused(file_of(header, max(4, end)), "starts at")


def test_a_tensor_inside_the_header_cannot_be_named():
    assert_refused(file_of({"a": tensor("U8", [4], [-4, 0])}), "not a count")


def test_an_empty_tensor_in_the_middle_of_another_is_refused():
    header = {"a": tensor("U8", [4], [0, 4]), "b": tensor("U8", [0], [2, 2])}
    assert_refused(file_of(header, 4), "starts at")
