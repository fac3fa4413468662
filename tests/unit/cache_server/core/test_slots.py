import itertools

import pytest

from cache_server.core.slots import TRANSITIONS, SlotEvent, SlotState, advance

PAIRS = list(itertools.product(SlotState, SlotEvent))


@pytest.mark.parametrize(("state", "event"), [p for p in PAIRS if p not in TRANSITIONS])
def test_an_event_that_is_not_in_the_table_is_a_bug_of_the_caller(state, event):
    with pytest.raises(ValueError, match=f"{event} cannot happen to a {state} slot"):
        advance(state, event)


@pytest.mark.parametrize(("pair", "after"), TRANSITIONS.items())
def test_the_table_is_what_advance_follows(pair, after):
    assert advance(*pair) is after


def test_warm_is_reached_by_publication_alone():
    assert [e for (_, e), after in TRANSITIONS.items() if after is SlotState.WARM] == [
        SlotEvent.PUBLISHED
    ]


def test_every_state_can_be_left_towards_eviction():
    for state in set(SlotState) - {SlotState.EVICTING}:
        assert advance(state, SlotEvent.EVICT) is SlotState.EVICTING


def test_every_state_can_be_reached_from_cold():
    reached = {SlotState.COLD}
    for _ in SlotState:
        reached |= {after for (before, _), after in TRANSITIONS.items() if before in reached}
    assert reached == set(SlotState)
