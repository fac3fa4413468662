"""Dimensions whose product wraps around 2**64 try to look like a small tensor."""

import pytest

from tests.hostile.headers import assert_refused, file_of, tensor


@pytest.mark.parametrize("shape", [[2**32, 2**32], [2**63, 2], [2**62, 4, 0], [3] * 60])
def test_a_product_above_memory_is_refused(shape: list[int]):
    assert_refused(file_of({"a": tensor("U8", shape, [0, 0])}))


def test_a_product_that_wraps_in_bits_is_refused():
    assert_refused(file_of({"a": tensor("F64", [2**58], [0, 0])}))


def test_elements_that_end_inside_a_byte_are_refused():
    assert_refused(file_of({"a": tensor("F4", [3], [0, 1])}, 1))
    assert_refused(file_of({"a": tensor("F4", [3], [0, 2])}, 2))
