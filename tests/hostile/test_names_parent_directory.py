"""A name with ``..`` tries to be written, or read, outside the slot."""

import pytest

from tests.hostile.names import assert_refused, assert_taken


@pytest.mark.parametrize(
    "path", ["..", "../x", "a/../../x", "a/..", "a/../b", ".", "./a", "a/./b", "a/.", "../" * 300]
)
def test_a_name_that_climbs_or_stands_still_is_refused(path: str):
    assert_refused(path, match="leaves its directory")


@pytest.mark.parametrize(
    "path", ["...", "..a", "a..", "a/..b/c", ".gitattributes", "%2e%2e/x", "~/x"]
)
def test_dots_and_tildes_that_mean_nothing_to_the_kernel_are_names(path: str):
    assert_taken(path)
