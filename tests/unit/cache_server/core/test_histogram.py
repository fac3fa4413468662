from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.histogram import Histogram

BOUNDS = (1, 2, 5)
INFINITE = float("inf")


def test_a_value_counts_below_every_bound_that_it_does_not_exceed():
    histogram = Histogram(BOUNDS)
    for value in (0.5, 2, 7):
        histogram.observe(value)
    assert histogram.cumulative() == [(1, 1), (2, 2), (5, 2), (INFINITE, 3)]
    assert histogram.total == 9.5


def test_without_values_every_count_is_nought():
    assert [count for _, count in Histogram(BOUNDS).cumulative()] == [0, 0, 0, 0]


@given(st.lists(st.integers(0, 9)))
def test_counts_are_those_of_the_sorted_values(values):
    histogram = Histogram(BOUNDS)
    for value in values:
        histogram.observe(value)
    expected = [(bound, bisect_right(sorted(values), bound)) for bound in (*BOUNDS, INFINITE)]
    assert histogram.cumulative() == expected
