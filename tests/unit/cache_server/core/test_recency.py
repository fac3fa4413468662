from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.recency import Moment, is_hot, recall, restate, stepped

WALL = datetime(2030, 1, 1, tzinfo=UTC)
NOW = Moment(WALL, 5_000.0)
HOT = timedelta(hours=48)
spans = st.integers(-(10**8), 10**8).map(lambda s: timedelta(seconds=s))


def test_a_stamp_of_an_earlier_process_is_as_old_as_the_wall_clock_says():
    assert recall(WALL - timedelta(hours=3), NOW).seconds == 5_000 - 3 * 3600


@given(spans.filter(lambda s: s > timedelta()))
def test_a_stamp_from_the_future_counts_as_now(ahead):
    assert recall(WALL + ahead, NOW) == NOW


@given(spans)
def test_nothing_recalled_lies_in_the_future(ahead):
    assert recall(WALL + ahead, NOW).seconds <= NOW.seconds


@pytest.mark.parametrize("jump", [timedelta(hours=2), timedelta(days=730)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_step_of_the_wall_clock_is_noticed_and_makes_nothing_older(jump, sign):
    asked = NOW
    later = Moment(WALL + timedelta(minutes=1) + sign * jump, NOW.seconds + 60)
    assert stepped(NOW, later)
    assert is_hot(asked, later.seconds, HOT)
    # Also for the process after this one, which has the wall clock alone.
    assert recall(restate(asked, later).wall, later).seconds == asked.seconds


def test_time_that_passes_is_no_step():
    assert not stepped(NOW, Moment(WALL + HOT, NOW.seconds + HOT.total_seconds()))


def test_the_hot_window_includes_its_end():
    asked = Moment(WALL, 0.0)
    assert is_hot(asked, HOT.total_seconds(), HOT)
    assert not is_hot(asked, HOT.total_seconds() + 0.001, HOT)


def test_what_was_never_asked_for_is_not_hot():
    assert not is_hot(None, 0.0, HOT)
