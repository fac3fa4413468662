"""An accented name in two encodings tries to be one file where the file system normalises.

APFS, HFS+, ZFS with ``normalization`` and ext4 with ``casefold`` take the two for one; a
directory that ``pull`` writes to may lie on any of them.
"""

import pytest

from tests.hostile.names import assert_refused, assert_taken


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"),
        ("\N{LATIN CAPITAL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"),
        ("\N{ANGSTROM SIGN}", "\N{LATIN SMALL LETTER A WITH RING ABOVE}"),
        ("가", "\N{HANGUL CHOSEONG KIYEOK}\N{HANGUL JUNGSEONG A}"),
        ("q\u0307\u0323", "q\u0323\u0307"),
        ("\u1fb4", "\u03b1\u0301\u0345"),
    ],
)
def test_two_encodings_of_one_name_are_refused_together(one: str, other: str):
    assert_refused(one, other, match="collides")


@pytest.mark.parametrize(
    "path", ["\N{LATIN SMALL LETTER E WITH ACUTE}", "e\N{COMBINING ACUTE ACCENT}"]
)
def test_either_encoding_alone_is_a_name(path: str):
    assert_taken(path)


def test_names_that_only_look_alike_are_two_names():
    assert_taken(
        "model", "m\N{CYRILLIC SMALL LETTER O}del", "\N{FULLWIDTH LATIN SMALL LETTER M}odel"
    )
