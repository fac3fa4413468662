from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.eviction import (
    NEVER,
    EvictionPlan,
    Held,
    SlotUse,
    plan_eviction,
    plan_for_tenant,
)

NOW = 10_000_000.0  # seconds
HOUR = 3600.0
HOT = timedelta(hours=48)


def slot(
    name: str, *, idle_hours: float | None = 72, size: int = 10, key: str = "default", **more
) -> SlotUse:
    asked = NEVER if idle_hours is None else NOW - idle_hours * HOUR
    return SlotUse((key, name), size, asked, **more)


def plan(slots: list[SlotUse], need: int) -> EvictionPlan:
    return plan_eviction(slots, need=need, now=NOW, hot_window=HOT)


def victims(slots: list[SlotUse], need: int) -> list[str]:
    return [v.key[1] for v in plan(slots, need).victims]


def test_the_least_recently_requested_goes_first_and_only_as_many_as_are_needed():
    slots = [slot("b", idle_hours=50), slot("c", idle_hours=60), slot("a", idle_hours=90)]
    assert victims(slots, 15) == ["a", "c"]
    assert plan(slots, 15).freed == 20


def test_a_slot_requested_exactly_48_hours_ago_is_still_hot():
    assert plan([slot("a", idle_hours=48)], 1) == EvictionPlan(shortfall=1, held=Held(hot=10))


def test_a_slot_requested_just_before_the_hot_window_may_go():
    assert victims([slot("a", idle_hours=48 + 1 / HOUR)], 1) == ["a"]


def test_a_slot_that_was_never_requested_goes_before_every_other():
    assert victims([slot("a", idle_hours=1000), slot("b", idle_hours=None)], 1) == ["b"]


def test_a_slot_that_is_pinned_read_or_filled_stays():
    slots = [slot("a", pinned=True), slot("b", leases=1, size=20), slot("c", filling=True)]
    held = Held(pinned=10, leased=20, filling=10)
    assert plan(slots, 1) == EvictionPlan(shortfall=1, held=held)


def test_of_equally_old_slots_what_is_not_whole_goes_first():
    assert victims([slot("a"), slot("b", whole=False)], 1) == ["b"]


def test_a_warm_slot_that_is_older_goes_before_one_that_is_not_whole():
    assert victims([slot("a", idle_hours=80), slot("b", whole=False)], 1) == ["a"]


def test_equally_old_slots_go_in_order_of_name_however_they_are_listed():
    assert victims([slot("b"), slot("a")], 1) == victims([slot("a"), slot("b")], 1) == ["a"]


def test_a_slot_with_nothing_on_disk_is_no_victim():
    assert victims([slot("a", idle_hours=None, size=0), slot("b")], 1) == ["b"]


def test_nothing_is_evicted_when_it_would_not_be_enough():
    assert plan([slot("a"), slot("b")], 21) == EvictionPlan(shortfall=1)


def test_a_fill_that_has_room_needs_nobody():
    assert plan([slot("a")], 0) == plan([slot("a")], -5) == EvictionPlan()


tables = st.lists(
    st.builds(
        slot,
        st.text("abcdef", min_size=1, max_size=4),
        key=st.sampled_from(["default", "other"]),
        idle_hours=st.none() | st.integers(0, 200),
        size=st.integers(0, 100),
        pinned=st.booleans(),
        leases=st.sampled_from([0, 0, 0, 1, 2]),
        filling=st.sampled_from([False, False, False, True]),
        whole=st.booleans(),
    ),
    unique_by=lambda s: s.key,
    max_size=12,
)


def _permitted(slot: SlotUse) -> bool:
    hot = NOW - slot.asked <= HOT.total_seconds()
    return not (hot or slot.pinned or slot.leases or slot.filling)


@given(tables, st.integers(1, 400))
def test_every_plan_is_lawful_and_minimal(table: list[SlotUse], need: int):
    made = plan(table, need)
    gone = list(made.victims)
    assert all(_permitted(v) and v.size for v in gone)
    assert gone == sorted(gone, key=lambda v: (v.asked, v.whole, v.key))
    assert made.freed == sum(v.size for v in gone)
    assert (made.shortfall > 0) == (not gone)
    if gone:
        assert made.freed >= need > made.freed - gone[-1].size
    else:
        assert made.shortfall == need - sum(s.size for s in table if _permitted(s))


@given(tables, st.integers(1, 400))
def test_whoever_stays_although_permitted_was_asked_for_later(table: list[SlotUse], need: int):
    gone = set(plan(table, need).victims)
    stayed = [s for s in table if _permitted(s) and s.size and s not in gone]
    if gone and stayed:
        assert max(v.asked for v in gone) <= min(s.asked for s in stayed)


@given(tables, st.integers(0, 400), st.randoms(use_true_random=False))
def test_a_plan_does_not_depend_on_the_order_of_the_table(table, need, random):
    shuffled = list(table)
    random.shuffle(shuffled)
    assert plan(shuffled, need) == plan(table, need)


# What a tenant's quota adds.


def plans(slots: list[SlotUse], *, own_need: int, need: int) -> tuple[list[str], list[str]]:
    own, others = plan_for_tenant(
        slots, tenant="mine", own_need=own_need, need=need, now=NOW, hot_window=HOT
    )
    return [v.key[1] for v in own.victims], [v.key[1] for v in others.victims]


def test_for_its_quota_a_tenant_gives_up_its_own_however_old_others_are():
    slots = [slot("old", idle_hours=90), slot("mine", key="mine")]
    assert plans(slots, own_need=5, need=0) == (["mine"], [])


def test_what_a_tenant_gives_up_is_room_for_the_node_as_well():
    slots = [slot("old", idle_hours=90), slot("mine", key="mine")]
    assert plans(slots, own_need=5, need=10) == (["mine"], [])
    assert plans(slots, own_need=5, need=11) == (["mine"], ["old"])


def test_where_its_own_do_not_suffice_nobody_is_looked_for():
    slots = [slot("old", idle_hours=90), slot("mine", key="mine", pinned=True)]
    own, others = plan_for_tenant(slots, tenant="mine", own_need=5, need=5, now=NOW, hot_window=HOT)
    assert own == EvictionPlan(shortfall=5, held=Held(pinned=10))
    assert others == EvictionPlan()
