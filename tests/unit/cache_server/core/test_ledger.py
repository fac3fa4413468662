import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import CapacityError
from cache_server.core.ledger import BLOCK, Ledger, room

PLENTY = 2**62
names = st.sampled_from("abcdef")
steps = st.lists(st.tuples(st.sampled_from(["book", "release"]), names, st.integers(0, 500)))


def run(ledger: Ledger, actions: list[tuple[str, str, int]]) -> dict[str, int]:
    """Do ``actions``; return what must be booked, by a rule of its own."""
    booked: dict[str, int] = {}
    for action, name, size in actions:
        if action == "release":
            ledger.release(name)
            booked.pop(name, None)
        elif name not in booked and sum(booked.values()) + size <= ledger.capacity:
            ledger.book(name, size, tenant="t", disk_free=PLENTY)
            booked[name] = size
        elif name not in booked:
            with pytest.raises(CapacityError):
                ledger.book(name, size, tenant="t", disk_free=PLENTY)
        else:
            ledger.book(name, size, tenant="t", disk_free=PLENTY)
    return booked


@given(steps)
def test_never_more_is_booked_than_the_capacity(actions):
    ledger = Ledger(1000)
    booked = run(ledger, actions)
    assert ledger.used == sum(booked.values()) <= 1000
    assert ledger.free == 1000 - ledger.used


@given(st.permutations("abcdef"))
def test_releases_in_any_order_give_everything_back(order):
    ledger = Ledger(600)
    for name in "abcdef":
        ledger.book(name, 100, tenant="t", disk_free=PLENTY)
    for name in order:
        ledger.release(name)
    assert ledger.free == 600


def test_a_refusal_carries_the_numbers_and_books_nothing():
    ledger = Ledger(1000)
    ledger.book("a", 400, tenant="t", disk_free=PLENTY)
    with pytest.raises(CapacityError, match=r"700 B needed, 600 B free of 1\.0 kB"):
        ledger.book("b", 700, tenant="t", disk_free=PLENTY)
    assert ledger.used == 400


def test_a_full_file_system_refuses_although_the_capacity_would_not():
    ledger = Ledger(1000)
    with pytest.raises(CapacityError, match="500 B needed, 499 B free on the file system"):
        ledger.book("a", 500, tenant="t", disk_free=499)
    assert ledger.used == 0


def test_what_lies_on_disk_is_booked_even_above_the_capacity():
    ledger = Ledger(100)
    ledger.adopt("a", 500, tenant="t")
    assert (ledger.used, ledger.free) == (500, 0)


@given(st.lists(st.tuples(names, st.sampled_from("xyz"), st.integers(0, 500))))
def test_what_tenants_have_is_together_what_is_used(bookings):
    ledger = Ledger(PLENTY)
    for name, tenant, size in bookings:
        ledger.adopt(name, size, tenant=tenant)
    assert sum(ledger.used_by(tenant) for tenant in "xyz") == ledger.used
    for name in "abcdef":
        ledger.release(name)
    assert [ledger.used_by(tenant) for tenant in "xyz"] == [0, 0, 0]


@given(st.lists(st.integers(0, 10**6)))
def test_files_take_whole_blocks_and_one_for_their_records(sizes):
    taken = room(sizes)
    assert taken % BLOCK == 0
    assert sum(sizes) + BLOCK * len(sizes) <= taken <= sum(sizes) + 2 * BLOCK * len(sizes)


@given(st.lists(st.integers(0, 10**6)))
def test_room_does_not_depend_on_the_order_of_the_files(sizes):
    assert room(sizes) == room(sizes[::-1])
