"""Two names that differ in case try to be one file where the file system folds case."""

import pytest

from tests.hostile.names import assert_refused, assert_taken


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "a"),
        ("config.json", "Config.JSON"),
        ("straße", "STRASSE"),
        ("ß", "ẞ"),
        ("\N{KELVIN SIGN}", "k"),
        ("\N{LATIN SMALL LETTER LONG S}", "S"),
        ("ΣΑΣ", "σας"),
        ("\N{LATIN SMALL LIGATURE FI}", "FI"),
        ("İ", "i\N{COMBINING DOT ABOVE}"),
        ("dir/a", "DIR/A"),
    ],
)
def test_names_that_fold_to_one_are_refused_together(one: str, other: str):
    assert_refused(one, other, match="collides")


def test_the_dotless_i_is_a_letter_of_its_own():
    assert_taken("\N{LATIN SMALL LETTER DOTLESS I}", "i")


def test_directories_that_differ_in_case_alone_may_hold_different_files():
    assert_taken("dir/a", "DIR/b")
