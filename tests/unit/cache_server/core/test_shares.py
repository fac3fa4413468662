import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import QuotaError
from cache_server.core.shares import Shares


def test_without_a_limit_everybody_takes_what_they_like():
    shares = Shares("cups")
    for _ in range(1000):
        shares.take("a")
    assert shares.held("a") == 1000


def test_the_refusal_names_tenant_numbers_and_what_it_is_about():
    shares = Shares("cups", {"a": 1}.get)
    shares.take("a")
    with pytest.raises(QuotaError, match="tenant a has 1 cups, and its quota is 1") as raised:
        shares.take("a")
    assert raised.value.numbers == {"limit": 1, "used": 1}


def test_a_limit_that_was_lowered_takes_nothing_away_and_gives_no_more():
    limits = {"a": 3}
    shares = Shares("cups", limits.get)
    for _ in range(3):
        shares.take("a")
    limits["a"] = 1
    shares.give_back("a")
    with pytest.raises(QuotaError):
        shares.take("a")


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_nobody_ever_holds_more_than_its_limit_or_less_than_nothing(steps):
    limits = {"a": 2, "b": 0}
    shares = Shares("cups", limits.get)
    for tenant, wants in steps:
        if not wants:
            if shares.held(tenant):
                shares.give_back(tenant)
        elif shares.held(tenant) < limits.get(tenant, len(steps)):
            shares.take(tenant)
        else:
            with pytest.raises(QuotaError):
                shares.take(tenant)
        assert 0 <= shares.held(tenant) <= limits.get(tenant, len(steps))


def test_one_tenant_takes_nothing_from_another():
    shares = Shares("cups", {"a": 0}.get)
    shares.take("b")
    assert (shares.held("a"), shares.held("b")) == (0, 1)
