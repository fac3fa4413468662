import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_server.dashboard.boot_bars import (
    BINS,
    LABEL,
    WIDTH,
    axis,
    beyond,
    distribution,
    longest,
    pieces,
    ticks,
)
from tests.fakes.glances import report

TIMES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=60)


def test_phases_of_the_weights_and_of_the_engine_have_a_lane_each():
    drawn = pieces(report(phases={"pull": (0, 4), "engine-import": (1, 5)}), 10.0)
    assert [(p.name, p.lane, p.x, p.width) for p in drawn] == [
        ("pull", 0, 0, 400),
        ("engine-import", 1, 100, 500),
    ]


def test_a_phase_of_no_time_can_still_be_seen_and_stays_on_the_line():
    (piece,) = pieces(report(phases={"first-token": (10, 0)}), 10.0)
    assert piece.width == 2
    assert piece.x == WIDTH - 2


def test_a_phase_of_a_later_agent_is_drawn_as_well():
    (piece,) = pieces(report(phases={"graph-capture": (0, 1)}), 10.0)
    assert (piece.name, piece.look, piece.lane) == ("graph-capture", "other", 1)


def test_the_common_line_is_as_long_as_the_longest_phase_or_start():
    assert longest([report(3.0), report(1.0, phases={"pull": (2, 5)})]) == 7.0
    assert longest([]) == 1.0


@pytest.mark.parametrize("length", [0.001, 0.7, 3.9, 11.2, 59, 94.5, 1e5])
def test_an_axis_has_a_few_round_lines(length):
    lines = ticks(length)
    assert 3 <= len(lines) <= 9
    assert all(0 <= line.x <= WIDTH for line in lines)


def test_one_start_that_hung_does_not_press_the_others_into_one_bar():
    bins = distribution([report(10 + n / 10) for n in range(20)] + [report(600.0)])
    assert sum(b.count > 0 for b in bins) > 5
    assert bins[-1].count == 1
    assert bins[-1].end == 600.0


def test_the_bar_of_what_the_axis_does_not_reach_has_room_for_its_own_words():
    bins = distribution([report(10 + n / 10) for n in range(20)] + [report(600.0)])
    assert beyond(bins) is bins[-1]
    assert all(tick.x <= WIDTH - LABEL for tick in axis(bins))


def test_a_bar_that_the_axis_reaches_needs_no_words():
    bins = distribution([report(10 + n / 10) for n in range(20)])
    assert beyond(bins) is None
    assert axis(bins)[-1].x > WIDTH - LABEL


def test_starts_that_failed_are_not_in_the_distribution():
    assert distribution([report(5.0, ok=False)]) == []


@given(TIMES)
def test_every_start_is_in_one_bin(times):
    bins = distribution([report(time) for time in times])
    assert len(bins) == BINS
    assert sum(b.count for b in bins) == len(times)
    assert max(b.height for b in bins) == 1
    assert all(0 <= line.x <= WIDTH for line in axis(bins))
