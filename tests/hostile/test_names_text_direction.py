"""A right-to-left override tries to show ``safe\\u202egpj.gif`` as ``safefig.jpg``."""

import pytest

from tests.hostile.names import assert_refused, assert_taken

DIRECTIONS = [chr(n) for n in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))]


@pytest.mark.parametrize("direction", DIRECTIONS, ids=ascii)
def test_every_embedding_override_and_isolate_is_refused(direction: str):
    assert_refused(f"safe{direction}gpj.gif")


def test_a_name_in_a_script_that_runs_right_to_left_is_a_name():
    assert_taken("דגם/نموذج.json")
