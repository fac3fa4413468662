from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.fair_turns import next_turn
from cache_server.core.shares import no_limit

tenants = st.sampled_from("abc")


def test_who_waited_longest_goes_among_equals():
    assert next_turn(["a", "b"], {}, limit=4, limit_of=no_limit) == 0


def test_the_tenant_with_the_fewest_turns_goes_first():
    assert next_turn(["a", "a", "b"], {"a": 1}, limit=4, limit_of=no_limit) == 2


def test_a_tenant_at_its_limit_lets_others_go_before_it():
    assert next_turn(["a", "b"], {"a": 1, "b": 2}, limit=4, limit_of={"a": 1}.get) == 1


def test_a_tenant_may_take_all_turns_while_nobody_else_wants_one():
    assert next_turn(["a"], {"a": 3}, limit=4, limit_of=no_limit) == 0


def test_nobody_goes_when_all_turns_are_taken():
    assert next_turn(["a"], {"b": 4}, limit=4, limit_of=no_limit) is None


@given(
    st.lists(tenants),
    st.dictionaries(tenants, st.integers(0, 3)),
    st.integers(0, 5),
    st.dictionaries(tenants, st.integers(0, 3)),
)
def test_a_turn_is_given_exactly_when_somebody_may_have_one(waiting, taken, limit, limits):
    chosen = next_turn(waiting, taken, limit=limit, limit_of=limits.get)
    may = [t for t in waiting if taken.get(t, 0) < limits.get(t, 99)]
    if sum(taken.values()) >= limit or not may:
        assert chosen is None
    else:
        assert chosen is not None
        assert waiting[chosen] in may
        assert taken.get(waiting[chosen], 0) == min(taken.get(t, 0) for t in may)


@given(st.lists(tenants, min_size=1, max_size=30), st.integers(1, 4))
def test_everybody_gets_a_turn_in_the_end(waiting, limit):
    left, order = list(waiting), []
    while left:
        chosen = next_turn(left, {}, limit=limit, limit_of=no_limit)
        order.append(left.pop(chosen))
    assert Counter(order) == Counter(waiting)
