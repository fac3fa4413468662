"""A file that is also the directory of another tries to leave one of them unwritten."""

import pytest

from tests.hostile.names import assert_refused, assert_taken


@pytest.mark.parametrize(
    "paths",
    [("a", "a/b"), ("a", "a/b/c/d"), ("A", "a/b"), ("a/b", "a-b", "a", "a.b"), ("é", "e\u0301/b")],
)
def test_a_file_below_a_file_is_refused(paths: tuple[str, ...]):
    assert_refused(*paths, match="below another file")


def test_names_that_merely_begin_alike_are_taken():
    assert_taken("a", "a-b/c", "a.b/c", "ab/c", "a!/c", "a ")
