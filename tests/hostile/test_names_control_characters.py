"""Control characters in a name try to end a C string, a log line, or to command a terminal."""

import pytest

from tests.hostile.names import assert_refused

CONTROLS = [chr(n) for n in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_every_control_character_and_line_separator_is_refused(control: str):
    assert_refused(f"a{control}b", match="control character")


@pytest.mark.parametrize(
    "path", ["model.dat\0.json", "\x1b]0;title\x07", "a\r\nX-Header: b", "a\n"]
)
def test_what_a_terminal_or_a_header_would_obey_is_refused(path: str):
    assert_refused(path, match="control character")
