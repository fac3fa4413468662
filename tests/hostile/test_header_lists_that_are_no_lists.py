"""Texts and maps where lists belong try to be walked like lists: "" would be a scalar's shape."""

import pytest

from tests.hostile.headers import assert_refused, file_of, tensor


@pytest.mark.parametrize("shape", ["", {}, None, 0, "1", False])
def test_a_shape_that_is_no_list_is_refused(shape: object):
    assert_refused(file_of({"a": tensor("U8", shape, [0, 1])}, 1))


@pytest.mark.parametrize("offsets", [[], [0], [0, 1, 1], "01", {"0": 0, "1": 1}, None, [[0, 1]], 1])
def test_offsets_that_are_no_two_counts_are_refused(offsets: object):
    assert_refused(file_of({"a": tensor("U8", [1], offsets)}, 1))


@pytest.mark.parametrize("dtype", ["", "f32", "F128", "U8 ", None, 0, [], ["U8"], {"U8": 0}])
def test_a_dtype_that_nobody_knows_is_refused(dtype: object):
    assert_refused(file_of({"a": tensor(dtype, [1], [0, 1])}, 1))


@pytest.mark.parametrize("missing", ["dtype", "shape", "data_offsets"])
def test_a_tensor_without_one_of_its_fields_is_refused(missing: str):
    fields = tensor("U8", [1], [0, 1])
    del fields[missing]
    assert_refused(file_of({"a": fields}, 1), "exactly the fields")


def test_a_field_that_the_format_does_not_name_is_refused():
    header = {"a": tensor("U8", [1], [0, 1]) | {"strides": [1]}}
    assert_refused(file_of(header, 1), "exactly the fields", library=False)
