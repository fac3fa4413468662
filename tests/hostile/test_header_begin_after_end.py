"""A span that ends before it begins tries to make a size negative, or huge where it is unsigned."""

from tests.hostile.headers import assert_refused, file_of, tensor


def test_a_backward_span_is_refused():
    assert_refused(file_of({"a": tensor("U8", [4], [4, 0])}, 4))


def test_a_backward_span_that_another_tensor_makes_good_is_refused():
    header = {"a": tensor("U8", [8], [0, 8]), "b": tensor("U8", [4], [8, 4])}
    assert_refused(file_of(header, 4))
