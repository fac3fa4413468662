from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.digests import CHUNK_SIZE
from cache_server.core.chunk_map import ChunkMap
from cache_server.core.fill_order import MAX_EXTENT, Extent, FillOrder

connections = st.integers(1, 16)


@st.composite
def files(draw) -> list[ChunkMap]:
    """Chunk maps with holes."""
    maps = [ChunkMap(n * CHUNK_SIZE) for n in draw(st.lists(st.integers(0, 30), max_size=5))]
    for each in maps:
        there = draw(st.sets(st.integers(0, each.count - 1))) if each.count else ()
        for chunk in there:
            each.record(chunk, b"d" * 16)
    return maps


def missing(maps: list[ChunkMap]) -> list[tuple[int, int]]:
    return [(n, c) for n, m in enumerate(maps) for c in range(m.count) if not m.has(c)]


def drained(order: FillOrder) -> list[Extent]:
    return list(iter(order.next, None))


def chunks(extents: list[Extent]) -> list[tuple[int, int]]:
    return [(e.file, c) for e in extents for c in range(e.begin, e.end)]


@given(files(), connections)
def test_every_missing_chunk_is_handed_out_once_front_to_back(maps, connections):
    assert chunks(drained(FillOrder(maps, connections=connections))) == missing(maps)


@given(files(), connections, st.data())
def test_wishes_change_the_order_and_nothing_else(maps, connections, data):
    order = FillOrder(maps, connections=connections)
    every = [(n, c) for n, m in enumerate(maps) for c in range(m.count)]
    got: list[Extent] = []
    for wish in data.draw(st.lists(st.sampled_from(every), max_size=10)) if every else []:
        order.want(*wish)
        got += filter(None, [order.next()])
    got += drained(order)
    assert sorted(chunks(got)) == missing(maps)


@given(files(), connections, st.data())
def test_a_wanted_chunk_begins_the_next_extent(maps, connections, data):
    if not (holes := missing(maps)):
        return
    wanted = data.draw(st.sampled_from(holes))
    order = FillOrder(maps, connections=connections)
    order.want(*wanted)
    extent = order.next()
    assert extent is not None
    assert (extent.file, extent.begin) == wanted


@given(files(), connections)
def test_no_extent_is_empty_or_too_long(maps, connections):
    sizes = [e.end - e.begin for e in drained(FillOrder(maps, connections=connections))]
    assert all(1 <= size <= MAX_EXTENT for size in sizes)


@given(files(), connections, st.data())
def test_what_is_given_back_is_handed_out_again(maps, connections, data):
    order = FillOrder(maps, connections=connections)
    first = drained(order)
    for extent in (
        back := data.draw(st.lists(st.sampled_from(first), unique=True)) if first else []
    ):
        order.give_back(extent.file, range(extent.begin, extent.end))
    assert sorted(chunks(drained(order))) == sorted(chunks(back))


def test_wishes_are_served_first_come_first_served():
    order = FillOrder([ChunkMap(100 * CHUNK_SIZE)], connections=8)
    order.want(0, 70)
    order.want(0, 30)
    order.want(0, 70)
    begins = [extent.begin for extent in (order.next(), order.next(), order.next()) if extent]
    assert begins == [70, 30, 0]


def test_near_the_end_extents_are_short_so_that_all_connections_stay_busy():
    extents = drained(FillOrder([ChunkMap(64 * CHUNK_SIZE)], connections=8))
    assert [e.end - e.begin for e in extents][-16:] == [1] * 16


def test_a_chunk_that_was_pulled_already_cannot_be_wished_for():
    have = ChunkMap(2 * CHUNK_SIZE)
    have.record(1, b"d" * 16)
    order = FillOrder([have], connections=8)
    order.want(0, 1)
    assert drained(order) == [Extent(0, 0, 1)]
