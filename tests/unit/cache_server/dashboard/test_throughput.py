import pytest

from cache_server.dashboard.throughput import Counts, Speeds, Throughput


def test_there_is_no_speed_before_somebody_has_looked_twice():
    assert Throughput().look(Counts(5.0, 100, 100)) is None


def test_a_speed_is_the_mean_over_the_last_seconds():
    seen = Throughput()
    for second in range(30):
        last = seen.look(Counts(float(second), 100 * second, 10 * second))
    assert last == Speeds(pytest.approx(100), pytest.approx(10))
    assert seen.look(Counts(31.0, 2900, 290)).pulled == pytest.approx(80)


def test_two_looks_at_once_do_not_divide_by_nothing():
    seen = Throughput()
    seen.look(Counts(1.0, 0, 0))
    assert seen.look(Counts(1.0, 50, 0)) is None


def test_what_was_seen_long_ago_does_not_count():
    seen = Throughput()
    seen.look(Counts(0.0, 0, 0))
    assert seen.look(Counts(1000.0, 10**9, 0)) is None
