"""A __metadata__ that is no map of texts tries to reach readers that print it."""

import pytest

from tests.hostile.headers import assert_refused, file_of, read


@pytest.mark.parametrize(
    "metadata", [[], 0, "", True, {"k": 1}, {"k": None}, {"k": {}}, {"k": ["v"]}]
)
def test_metadata_that_is_no_map_of_texts_is_refused(metadata: object):
    assert_refused(file_of({"__metadata__": metadata}), "__metadata__ is not a map of texts")


def test_metadata_that_is_null_is_refused():
    assert_refused(file_of({"__metadata__": None}), library=False)


def test_metadata_is_no_tensor():
    read(file_of({"__metadata__": {"dtype": "U8", "shape": "[1]", "data_offsets": "[0,1]"}}))


def test_a_tensor_with_almost_that_name_is_checked_as_a_tensor():
    assert_refused(file_of({"__metadata": {"k": "v"}}), "exactly the fields")
