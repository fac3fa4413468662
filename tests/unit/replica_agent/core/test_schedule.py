from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.digests import CHUNK_SIZE, chunk_count
from cache_protocol.ranges import Span
from replica_agent.core.schedule import EXTENT, Part, Schedule

BIG = 5 * CHUNK_SIZE + 1


def drain(schedule: Schedule) -> list[Part]:
    return list(iter(schedule.take, None))


def test_small_files_of_every_model_come_before_the_first_large_one():
    files = [("a", BIG), ("a", 10), ("b", BIG), ("b", 10)]
    assert [p.file for p in drain(Schedule(files))][:2] == [1, 3]


def test_models_take_turns():
    order = [p.file for p in drain(Schedule([("a", BIG), ("b", BIG)]))]
    assert order == [0, 1, 0, 1]


def test_files_of_a_model_come_in_the_order_of_the_manifest():
    assert [p.file for p in drain(Schedule([("a", BIG), ("a", BIG)]))] == [0, 0, 1, 1]


def test_a_part_that_came_back_goes_first():
    schedule = Schedule([("a", BIG), ("a", BIG)])
    first = schedule.take()
    schedule.give_back(first)
    assert schedule.take() == first


def test_an_empty_file_has_no_part():
    assert Schedule([("a", 0)]).take() is None


def test_a_part_asks_only_for_what_it_has_not_received():
    part = Part(0, range(1, 3), received=(b"x" * 16,))
    assert part.missing(BIG) == Span(2 * CHUNK_SIZE, 3 * CHUNK_SIZE)


def test_a_part_that_has_all_its_bytes_misses_nothing():
    size = CHUNK_SIZE + 5
    assert Part(0, range(2), received=(b"", b"")).missing(size).size == 0


files = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 12 * CHUNK_SIZE)), max_size=12)


@given(files)
def test_every_chunk_is_asked_for_exactly_once(table):
    asked = [(p.file, c) for p in drain(Schedule(table)) for c in p.chunks]
    assert sorted(asked) == [
        (i, c) for i, (_, n) in enumerate(table) for c in range(chunk_count(n))
    ]


@given(files)
def test_no_part_is_empty_or_longer_than_an_extent(table):
    assert all(1 <= len(p.chunks) <= EXTENT for p in drain(Schedule(table)))
