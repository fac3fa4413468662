"""Half a surrogate pair in a name tries to fail where the name is encoded, after the checks."""

import pytest

from tests.hostile.names import assert_refused, assert_taken


@pytest.mark.parametrize("path", ["\ud800", "a/\udfff", "\udc80.json", "\ude00\ud83d"])
def test_half_a_pair_is_refused(path: str):
    assert_refused(path, match="not Unicode text")


def test_a_letter_beyond_the_basic_plane_is_a_name():
    assert_taken("\U0001f600.json")
