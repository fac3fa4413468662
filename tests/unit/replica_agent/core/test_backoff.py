from hypothesis import given
from hypothesis import strategies as st

from replica_agent.core.backoff import LONGEST, LONGEST_WISH, pause

dice = st.floats(0, 1, exclude_max=True)


@given(dice)
def test_the_first_retry_comes_within_half_a_second(thrown):
    assert 0 < pause(1, thrown) <= 0.5


@given(st.integers(1, 10_000), dice)
def test_no_pause_is_longer_than_the_cap(failures, thrown):
    assert 0 < pause(failures, thrown) <= LONGEST


def test_pauses_grow():
    assert pause(4, 0) > pause(3, 0) > pause(2, 0) > pause(1, 0)


def test_the_wish_of_the_node_is_honoured():
    assert pause(1, 0, wish=7.0) == 7.0


def test_an_absurd_wish_is_capped():
    assert pause(1, 0, wish=1e9) == LONGEST_WISH
