from datetime import timedelta

import pytest

from cache_protocol.errors import OriginDeniedError
from cache_server.core.chip_words import moment
from cache_server.core.slots import SlotState
from cache_server.dashboard.words import about, chips, cost, count, progress, span
from tests.fakes.glances import NOW, failed, filling, glance


def texts(of):
    return [chip.text for chip in chips(of)]


def test_the_state_comes_first_then_what_keeps_a_pipeline():
    warm = glance(state=SlotState.WARM, pinned=True, hot=True, hot_until=NOW)
    assert texts(warm) == ["cache: warm", "pinned", "hot until 2 Jan 03:04"]


def test_a_fill_of_unknown_size_shows_no_share():
    assert texts(glance(state=SlotState.FILLING, fill=filling(0, None))) == ["cache: filling"]


def test_a_fill_that_lacks_one_byte_is_not_shown_as_done():
    assert texts(glance(state=SlotState.FILLING, fill=filling(999))) == ["cache: filling 99 %"]


def test_a_newer_generation_that_fills_beside_a_warm_one_is_told_apart():
    warm = glance(state=SlotState.WARM, fill=filling(120))
    assert texts(warm) == ["cache: warm", "refreshing 12 %"]


def test_a_pipeline_that_is_no_longer_hot_says_nothing_of_it():
    assert texts(glance(hot_until=NOW)) == ["cache: cold"]


def test_a_fill_that_failed_is_told_until_another_one_runs():
    error = failed(OriginDeniedError("403"))
    assert texts(glance(error=error)) == ["cache: cold", "last fill failed"]
    assert texts(glance(state=SlotState.FILLING, error=error, fill=filling(1))) == [
        "cache: filling 0 %"
    ]


def test_what_nobody_has_looked_at_on_disk_is_not_called_cold():
    assert texts(glance(looked_at=False)) == ["cache: looking"]


def test_progress_says_how_much_is_there_and_how_long_it_takes_yet():
    going = progress(filling(430, ends=NOW + timedelta(seconds=75)), NOW)
    assert (going.percent, going.words, going.left) == (
        43,
        "430 B of 1.0 kB",
        "about 1 min 15 s left",
    )


def test_there_is_no_progress_of_what_has_no_size():
    assert (
        progress(None, NOW)
        is progress(filling(0, None), NOW)
        is progress(filling(0, 0), NOW)
        is None
    )


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (7.84, "7.8 s"),
        (59.96, "1 min 00 s"),
        (125, "2 min 05 s"),
        (4800, "1 h 20 min"),
        (3 * 86400 + 7200, "3 d 2 h"),
    ],
)
def test_a_length_of_time_is_told_in_two_units_at_most(seconds, words):
    assert span(seconds) == words


def test_what_is_reckoned_has_no_tenths():
    assert [about(s) for s in (12.4, 59.7, 1129, 5000)] == [
        "about 12 s",
        "about 1 min 00 s",
        "about 19 min",
        "about 1 h 23 min",
    ]


def test_an_instant_is_told_in_utc():
    assert moment(NOW.astimezone(tz=None)) == "2 Jan 03:04"


def test_one_file_is_not_one_files():
    assert (count(1, "file"), count(2, "file"), count(1204, "file")) == (
        "1 file", "2 files", "1\N{NO-BREAK SPACE}204 files",
    )  # fmt: skip


def test_the_cost_of_a_pull_names_bytes_and_time():
    assert cost(16_000_000_000) == "16.0 GB, at 1 Gbit/s about 2 min 08 s"
