import os
import posixpath
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_protocol.errors import MalformedError
from cache_protocol.names import check_model, check_path, check_paths, check_pipeline, shown
from tests.unit.cache_protocol import legal

anything = st.text(st.characters() | st.sampled_from("./\\\0\n"), max_size=40)


def accepts(check, *given_) -> bool:
    try:
        check(*given_)
    except MalformedError:
        return False
    return True


@given(legal.paths)
def test_a_legal_path_is_returned_as_it_is(path: str):
    assert check_path(path) == path


@given(anything)
def test_an_accepted_path_stays_below_its_directory(path: str):
    if accepts(check_path, path):
        below = posixpath.normpath(posixpath.join("/slot/model", path))
        assert below == f"/slot/model/{path}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=anything)
def test_an_accepted_path_can_be_made_as_a_file(tmp_path: Path, path: str):
    if accepts(check_path, path):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
        assert os.path.samefile(file, os.path.join(tmp_path, path))
        file.unlink()
        os.removedirs(file.parent) if file.parent != tmp_path else None
        tmp_path.mkdir(exist_ok=True)


@given(st.lists(st.text("aAbß/", min_size=1, max_size=5), max_size=5), st.randoms())
def test_whether_paths_can_live_together_does_not_depend_on_their_order(paths, random):
    shuffled = random.sample(paths, len(paths))
    assert accepts(check_paths, paths) == accepts(check_paths, shuffled)


@given(st.lists(st.text("ab/-", min_size=1, max_size=5), max_size=6))
def test_paths_can_live_together_when_no_one_is_another_or_its_directory(paths: list[str]):
    lawful = all(accepts(check_path, p) for p in paths) and not any(
        n != m and (a == b or b.startswith(f"{a}/"))
        for n, a in enumerate(paths)
        for m, b in enumerate(paths)
    )
    assert accepts(check_paths, paths) == lawful


def test_paths_may_share_directories_and_the_beginnings_of_names():
    check_paths(["a/b/c", "a/b/d", "a-b", "a.json", "ab", "a/bc"])


@pytest.mark.parametrize("name", ["0", "a" * 100, "a.b_c-d", "a..b"])
def test_a_pipeline_and_a_model_take_letters_digits_and_three_signs(name: str):
    assert check_pipeline(name) == check_model(name) == name


@pytest.mark.parametrize("name", ["", "a" * 101, ".a", "-a", "_a", "a/b", "ä", "a\n", "a b", "a\0"])
def test_other_names_are_neither_a_pipeline_nor_a_model(name: str):
    assert not accepts(check_pipeline, name)
    assert not accepts(check_model, name)


def test_capitals_name_a_model_but_no_pipeline():
    assert check_model("ASR") == "ASR"
    assert not accepts(check_pipeline, "ASR")


@given(st.text(st.characters(), max_size=300))
def test_a_shown_name_is_short_printable_ascii(text: str):
    assert shown(text).isascii()
    assert shown(text).isprintable()
    assert len(shown(text)) <= 10 * 120 + 2


def test_a_short_plain_name_is_shown_in_full_and_a_long_one_with_its_length():
    assert shown("config.json") == "'config.json'"
    assert "5000 characters" in shown("a" * 5000)
