import pytest

from cache_server.core import attempts
from cache_server.core.attempts import FailedAttempts


def test_an_address_waits_once_it_failed_too_often_and_until_its_window_ends():
    failed = FailedAttempts(limit=3, window=60)
    assert [failed.note("1.2.3.4", now) for now in (0.0, 10.0, 20.0)] == [0, 0, 0]
    assert failed.note("1.2.3.4", 25.0) == 35
    assert failed.note("1.2.3.4", 60.0) == 0
    assert (failed.total, failed.limited) == (5, 1)


def test_an_address_that_failed_too_often_is_told_of_once_in_a_window():
    told: list[str] = []
    failed = FailedAttempts(limit=2, window=60, tell=told.append)
    for now in (0, 1, 2, 3, 4):
        failed.note("::ffff:1.2.3.4", now)
    assert told == ["1.2.3.4"]
    for now in (60, 61, 62):
        failed.note("1.2.3.4", now)
    assert told == ["1.2.3.4"] * 2


def test_addresses_are_counted_apart():
    failed = FailedAttempts(limit=1, window=60)
    assert failed.note("1.2.3.4", 0) == failed.note("1.2.3.5", 0) == 0
    assert failed.note("1.2.3.4", 0) > 0


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1"),  # a /64 is one customer
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("testclient", ""),  # no address at all
    ],
)
def test_what_is_one_guesser_is_counted_as_one(one, same):
    failed = FailedAttempts(limit=1, window=60)
    assert failed.note(one, 0) == 0
    assert failed.note(same, 0) > 0


def test_memory_is_bounded_and_the_longest_quiet_address_is_forgotten(monkeypatch):
    monkeypatch.setattr(attempts, "ADDRESSES", 2)
    failed = FailedAttempts(limit=1, window=60)
    for address in ("1.1.1.1", "2.2.2.2", "1.1.1.1", "3.3.3.3"):
        failed.note(address, 0)
    assert failed.note("1.1.1.1", 1) > 0
    assert failed.note("2.2.2.2", 1) == 0
