"""Names with a meaning on Windows try to leave the directory of whoever copies a slot there."""

import pytest

from tests.hostile.names import assert_refused, assert_taken


@pytest.mark.parametrize("path", ["..\\x", "a\\b", "C:\\x", "\\\\host\\share\\x", "a/..\\..\\x"])
def test_a_backslash_is_refused(path: str):
    assert_refused(path, match="backslash")


@pytest.mark.parametrize("path", ["C:/x", "CON", "aux.json", "a.", "a ", "file::$DATA", "a?b*c"])
def test_what_only_windows_minds_is_a_name_on_linux(path: str):
    assert_taken(path)
