from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.backoff import ATTEMPTS, FIRST, LONGEST, PATIENCE, delay

chances = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, ATTEMPTS - 1)
wishes = st.floats(0, PATIENCE.total_seconds())


@given(chances)
def test_the_first_retry_comes_within_half_a_second(chance):
    wait = delay(1, chance=chance)
    assert wait is not None
    assert FIRST <= wait <= 0.5


@given(attempts, chances)
def test_a_later_try_never_waits_less_at_the_same_chance(attempt, chance):
    now, later = delay(attempt, chance=chance), delay(attempt + 1, chance=chance)
    assert now is not None
    assert later is None or later >= now


@given(attempts, chances)
def test_no_wait_is_above_twice_the_longest(attempt, chance):
    wait = delay(attempt, chance=chance)
    assert wait is not None
    assert wait < 2 * LONGEST


@given(attempts, chances, wishes)
def test_the_origins_own_wish_is_a_lower_bound(attempt, chance, wish):
    wait = delay(attempt, chance=chance, retry_after=wish)
    assert wait is not None
    assert wait >= wish


@given(attempts, wishes)
def test_callers_that_failed_together_come_back_apart(attempt, wish):
    waits = {delay(attempt, chance=c / 10, retry_after=wish) for c in range(10)}
    assert len(waits) > 1


@given(st.integers(ATTEMPTS, 10**9), chances)
def test_enough_tries_without_a_byte_are_enough(attempt, chance):
    assert delay(attempt, chance=chance) is None


@given(attempts, chances)
def test_a_wish_above_the_patience_is_a_refusal(attempt, chance):
    assert delay(attempt, chance=chance, retry_after=PATIENCE.total_seconds() + 1) is None
