import pytest

from cache_server.core.drip import LEAST, WINDOW, Drip, DripError


def test_an_origin_that_drips_is_given_up_after_a_window_of_waiting():
    drip = Drip()
    for _ in range(9):
        drip.came(1, WINDOW / 10, "file")
    with pytest.raises(DripError, match="10 bytes came in 30 s"):
        drip.came(1, WINDOW / 10, "file")


def test_a_slow_origin_above_the_least_rate_is_read_to_its_end():
    drip = Drip()
    for _ in range(100):
        drip.came(int(LEAST * 3) + 1, 3.0, "file")


def test_what_came_earlier_does_not_make_up_for_a_drip():
    drip = Drip()
    drip.came(10**9, WINDOW, "file")
    with pytest.raises(DripError):
        drip.came(1, WINDOW, "file")


def test_time_that_the_reader_took_itself_does_not_count():
    drip = Drip()
    for _ in range(10_000):  # a byte at once, and then a disk that takes its time
        drip.came(1, 0.0, "file")
