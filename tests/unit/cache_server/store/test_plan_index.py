"""Which plans go next; ``test_kept_plans`` has the same on a disk."""

from datetime import UTC, datetime, timedelta

from cache_server.store.plan_index import MAX_PLANS, Name, PlanIndex, Record
from tests.fakes.plans import plan

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
KEY = plan().key


def holding(*names: Name) -> PlanIndex:
    """Return an index with plans of 10 bytes, the first written first."""
    index = PlanIndex()
    for hours, name in enumerate(names):
        index.add(name, Record(KEY, "0" * 64, 10, NOON + timedelta(hours=hours)))
    return index


A, B, C = (Name(model, "0" * 32) for model in "abc")


def test_nothing_goes_within_the_limits():
    assert list(holding(A, B, C).surplus(C, 30)) == []


def test_no_more_goes_than_has_to():
    assert list(holding(A, B, C).surplus(C, 29)) == [A]
    assert list(holding(A, B, C).surplus(C, 19)) == [A, B]


def test_the_newest_stays_also_where_it_was_used_the_longest_ago():
    assert list(holding(A, B, C).surplus(A, 10)) == [B, C]


def test_what_was_used_goes_after_what_was_not():
    index = holding(A, B, C)
    index.use(A)
    assert list(index.surplus(C, 20)) == [B]


def test_what_was_dropped_counts_no_longer():
    index = holding(A, B, C)
    index.drop(B)
    assert list(index.surplus(C, 20)) == []


def test_what_was_used_after_it_was_dropped_is_forgotten_with_the_next_look():
    index = holding(A, B)
    index.drop(A)
    index.use(A)
    index.use(B)
    assert list(index.surplus(B, 20)) == []
    assert list(index._used) == [B]


def test_for_too_many_of_a_model_no_other_model_gives_anything():
    many = [Name("m", str(n)) for n in range(MAX_PLANS + 2)]
    assert list(holding(A, *many).surplus(many[-1], 10_000)) == many[:2]
