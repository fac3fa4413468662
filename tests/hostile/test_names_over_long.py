"""A name beyond the file system's limits tries to fail in the middle of a fill."""

import pytest

from tests.hostile.names import assert_refused, assert_taken


@pytest.mark.parametrize(
    "path", ["a" * 256, "é" * 128, "d/" + "😀" * 64, "a/" * 512 + "b", "a" * 16000]
)
def test_a_name_above_255_bytes_in_a_part_or_1024_in_all_is_refused(path: str):
    assert_refused(path, match="at most 1024")


@pytest.mark.parametrize("path", ["a" * 255, "é" * 127 + "a", "a/" * 511 + "bc"])
def test_a_name_at_the_very_limit_is_taken(path: str):
    assert_taken(path)
