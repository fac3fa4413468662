"""An absolute name tries to replace the directory that it is joined to."""

import pytest

from tests.hostile.names import assert_refused


@pytest.mark.parametrize("path", ["/etc/passwd", "/", "//host/share", "", "a//b", "a/", "/a/"])
def test_a_name_with_an_empty_part_is_refused(path: str):
    assert_refused(path, match="empty parts")
