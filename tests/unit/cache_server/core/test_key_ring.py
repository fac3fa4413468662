import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.tickets import Key, check, sign
from cache_server.core.key_ring import (
    LONGEST_LIFE,
    MAX_AGE,
    MAX_KEYS,
    DatedKey,
    KeyRing,
    dump_ring,
    load_ring,
)


def key(number: int) -> Key:
    return Key(f"k{number}", bytes([number]) * 32)


def ring(now: float = 0) -> KeyRing:
    return KeyRing("node", (DatedKey(key(0), now),))


def ids(of: KeyRing) -> list[str]:
    return [dated.key.id for dated in of.keys]


@given(st.floats(0, 10**9), st.integers(0, LONGEST_LIFE), st.floats(0, LONGEST_LIFE * 2))
def test_a_rotation_refuses_no_ticket_before_it_runs_out(signed: float, wait: int, later: float):
    before = ring(signed)
    expires = int(signed) + LONGEST_LIFE
    query = sign(before.current, "t", "/a", expires)
    after = before.rotated(key(1), signed + wait).pruned(signed + wait + later)
    if signed + wait + later < expires:
        check(after.current, "/a", query, signed + wait + later)


def test_a_retired_key_is_forgotten_when_its_last_ticket_has_run_out():
    after = ring().rotated(key(1), 100)
    assert ids(after.pruned(100 + LONGEST_LIFE - 1)) == ["k1", "k0"]
    assert ids(after.pruned(100 + LONGEST_LIFE)) == ["k1"]


def test_the_key_that_signs_is_never_forgotten():
    assert ids(ring().pruned(10**9)) == ["k0"]


def test_a_key_signs_for_a_day():
    assert not ring().is_due(MAX_AGE - 1)
    assert ring().is_due(MAX_AGE)


def test_a_clock_that_was_set_back_does_not_keep_a_key_for_ever():
    assert ring(now=10**9).is_due(5)
    assert ids(ring(now=10**9).rotated(key(1), 5).pruned(5 + LONGEST_LIFE)) == ["k1"]


def test_what_is_revoked_is_accepted_no_more():
    twice = ring().rotated(key(1), 1).rotated(key(2), 2)
    assert ids(twice) == ["k2", "k1", "k0"]
    assert ids(twice.rotated(key(3), 3, revoke=True)) == ["k3"]


def test_a_ring_does_not_grow_without_bound():
    many = ring()
    for number in range(100):
        many = many.rotated(key(number), number)
    assert len(many.keys) == MAX_KEYS


def test_a_ring_is_the_same_after_it_was_written_and_read():
    twice = ring().rotated(key(1), 7.5)
    assert load_ring(dump_ring(twice)) == twice


def test_a_ring_without_a_key_is_none():
    with pytest.raises(ValueError, match="without a key"):
        load_ring({"node": "n", "keys": []})
