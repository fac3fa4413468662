"""Bytes that no tensor owns try to smuggle content past whoever checks only tensors."""

from tests.hostile.headers import assert_refused, file_of, tensor


def test_a_hole_before_the_first_tensor_is_refused():
    assert_refused(file_of({"a": tensor("U8", [4], [1, 5])}, 5), "starts at")


def test_a_hole_between_tensors_is_refused():
    header = {"a": tensor("U8", [2], [0, 2]), "b": tensor("U8", [2], [3, 5])}
    assert_refused(file_of(header, 5), "starts at")


def test_bytes_behind_the_last_tensor_are_refused():
    assert_refused(file_of({"a": tensor("U8", [2], [0, 2])}, 3), "tensors end at")


def test_bytes_behind_a_header_without_tensors_are_refused():
    assert_refused(file_of({}, 1), "tensors end at")


def test_a_tensor_that_goes_on_behind_the_file_is_refused():
    assert_refused(file_of({"a": tensor("U8", [4], [0, 4])}, 3), "tensors end at")


def test_an_empty_tensor_behind_the_file_is_refused():
    assert_refused(file_of({"a": tensor("U8", [0], [7, 7])}, 0), "starts at")
