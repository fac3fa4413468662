from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.digests import ABSENT, CHUNK_SIZE, DIGEST_SIZE
from cache_server.core.chunk_map import ChunkMap

sizes = st.integers(0, 6 * CHUNK_SIZE)
digests = st.binary(min_size=DIGEST_SIZE, max_size=DIGEST_SIZE).filter(lambda d: d != ABSENT)


@st.composite
def maps(draw) -> tuple[ChunkMap, set[int]]:
    """A map, and the chunks that it must say are there."""
    chunk_map = ChunkMap(draw(sizes))
    there: set[int] = set()
    steps = st.tuples(st.booleans(), st.integers(0, max(0, chunk_map.count - 1)))
    for records, chunk in draw(st.lists(steps, max_size=20)) if chunk_map.count else []:
        if records:
            chunk_map.record(chunk, draw(digests))
            there.add(chunk)
        else:
            chunk_map.drop([chunk])
            there.discard(chunk)
    return chunk_map, there


@given(maps())
def test_what_was_recorded_and_not_dropped_is_there(made):
    chunk_map, there = made
    assert {c for c in range(chunk_map.count) if chunk_map.has(c)} == there


@given(maps())
def test_filled_is_the_bytes_of_the_chunks_that_are_there(made):
    chunk_map, there = made
    ends = [min((c + 1) * CHUNK_SIZE, chunk_map.size) - c * CHUNK_SIZE for c in there]
    assert chunk_map.filled == sum(ends)
    assert chunk_map.whole == (len(there) == chunk_map.count)


@given(maps())
def test_the_table_alone_makes_the_same_map_again(made):
    chunk_map, there = made
    again = ChunkMap(chunk_map.size, bytes(chunk_map.table))
    assert (again.table, again.filled) == (chunk_map.table, chunk_map.filled)
    assert {c for c in range(again.count) if again.has(c)} == there


@given(maps(), st.integers(0, 100))
def test_a_table_that_was_cut_short_keeps_its_whole_entries(made, length):
    chunk_map, there = made
    again = ChunkMap(chunk_map.size, bytes(chunk_map.table[:length]))
    kept = {c for c in there if (c + 1) * DIGEST_SIZE <= length}
    assert {c for c in range(again.count) if again.has(c)} == kept


@given(maps())
def test_a_table_that_is_too_long_adds_no_chunks(made):
    chunk_map, _ = made
    again = ChunkMap(chunk_map.size, bytes(chunk_map.table) + b"x" * 3 * DIGEST_SIZE)
    assert (again.table, again.filled) == (chunk_map.table, chunk_map.filled)


@given(maps())
def test_a_run_ends_at_the_first_missing_chunk(made):
    chunk_map, there = made
    for chunk in range(chunk_map.count):
        end = chunk_map.run_end(chunk)
        assert set(range(chunk, end)) <= there
        assert end == chunk_map.count or end not in there


def test_an_empty_file_is_whole_from_the_start():
    assert ChunkMap(0).whole
