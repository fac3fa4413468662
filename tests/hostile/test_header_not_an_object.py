"""A header that is JSON but no map of maps tries to reach code that expects one."""

import pytest

from tests.hostile.headers import assert_refused, file_of


@pytest.mark.parametrize("header", [[], None, 0, "", "abc", True, [["a", 1]], 1.5])
def test_a_header_that_is_no_object_is_refused(header: object):
    assert_refused(file_of(header))


@pytest.mark.parametrize("field", [None, 0, "", "abc", [], {}, True])
def test_a_tensor_that_is_no_object_is_refused(field: object):
    assert_refused(file_of({"a": field}))


@pytest.mark.parametrize("header", [b"", b"{", b"{}{}", b"{},", b"{}\0", b"{'a':1}", b"{/**/}"])
def test_a_header_that_is_no_json_is_refused(header: bytes):
    assert_refused(file_of(header))
