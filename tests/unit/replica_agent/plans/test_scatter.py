"""Where the bytes of a file go, against counting them one by one."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_protocol.plans import Kept, Key, Parameter, Piece, Plan, PlannedFile
from cache_protocol.ranges import Span
from replica_agent.plans.scatter import Scatter, Write

FILE, OTHER = "model.safetensors", "config.json"


def plan(size: int, parameters: list[int], pieces: list[Piece], kept: list[Span]) -> Plan:
    return Plan(
        Key("c", "vllm", "1", "cpu", "tp2", 2, 0, "bfloat16", ""),
        (PlannedFile(FILE, size),),
        tuple(Parameter(f"p{n}", "U8", (bytes_,)) for n, bytes_ in enumerate(parameters)),
        tuple(pieces),
        tuple(Kept(0, *span) for span in kept),
    )


@st.composite
def plans(draw: st.DrawFn, size: int) -> Plan:
    parameters = draw(st.lists(st.integers(20, 120), min_size=1, max_size=2))
    pieces = draw(st.lists(_pieces(size, parameters), max_size=4))
    ends = st.integers(0, size)
    spans = draw(st.lists(st.tuples(ends, ends).map(lambda ab: Span(*sorted(ab))), max_size=3))
    return plan(size, parameters, pieces, spans)


@st.composite
def _pieces(draw: st.DrawFn, size: int, parameters: list[int]) -> Piece:
    parameter = draw(st.integers(0, len(parameters) - 1))
    space = parameters[parameter]
    run = draw(st.integers(1, min(12, size, space)))
    pitch, stride = (run + draw(st.integers(0, 6)) for _ in range(2))
    most = min((size - run) // pitch, (space - run) // stride) + 1
    runs = draw(st.integers(1, min(most, 6)))
    begin = draw(st.integers(0, size - (runs - 1) * pitch - run))
    place = draw(st.integers(0, space - (runs - 1) * stride - run))
    return Piece(0, begin, parameter, place, run, runs, pitch, stride)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Plan], list[Span]]:
    """Return the plans of some ranks, and a file cut into spans that cover it."""
    size = draw(st.integers(1, 200))
    cuts = draw(st.sets(st.integers(1, size), max_size=8)) | {0, size}
    ranks = draw(st.lists(plans(size), min_size=1, max_size=3))
    return ranks, [Span(*each) for each in pairwise(sorted(cuts))]


def one_by_one(ranks: list[Plan]) -> Counter[tuple[int, int, int]]:
    """Return each byte that ranks want as (shard, place, byte of the file)."""
    return Counter(
        (shard, one.places[p.parameter] + p.place + n * p.stride + j, p.begin + n * p.pitch + j)
        for shard, one in enumerate(ranks)
        for p in one.pieces
        for n in range(p.runs)
        for j in range(p.run)
    )


def bytes_of(write: Write, span: Span) -> Iterator[tuple[int, int, int]]:
    for n in range(write.runs):
        for j in range(write.run):
            source = write.source + n * write.pitch + j
            assert 0 <= source < span.size
            yield write.shard, write.place + n * write.stride + j, span.begin + source


@settings(max_examples=300)
@given(cases(), st.integers(1, 64))
def test_every_byte_goes_where_it_is_wanted_once_however_the_file_is_cut(case, stretch):
    ranks, spans = case
    scatter = Scatter(ranks, [OTHER, FILE], stretch)
    written = Counter(
        each
        for span in spans
        for write in scatter.writes(1, span)
        for each in bytes_of(write, span)
    )
    assert written == one_by_one(ranks)


@given(cases())
def test_what_anybody_keeps_stays_in_the_file_once(case):
    ranks, spans = case
    scatter = Scatter(ranks, [FILE])
    stays = [byte for span in spans for part in scatter.kept(0, span) for byte in range(*part)]
    assert stays == sorted({b for one in ranks for k in one.kept for b in range(k.begin, k.end)})


@given(cases())
def test_a_piece_cut_at_a_span_takes_three_writes_at_most(case):
    ranks, spans = case
    scatter = Scatter(ranks, [FILE])
    pieces = sum(len(one.pieces) for one in ranks)
    assert all(len(list(scatter.writes(0, span))) <= 3 * pieces for span in spans)


def test_of_a_file_that_no_plan_is_about_all_stays_and_nothing_goes_elsewhere():
    scatter = Scatter([plan(10, [10], [Piece(0, 0, 0, 0, 10, 1, 10, 10)], [])], [FILE, OTHER])
    assert list(scatter.writes(1, Span(2, 7))) == []
    assert list(scatter.kept(1, Span(2, 7))) == [Span(2, 7)]


def test_without_plans_everything_stays():
    scatter = Scatter([], [FILE])
    assert list(scatter.writes(0, Span(0, 9))) == []
    assert list(scatter.kept(0, Span(0, 9))) == [Span(0, 9)]


def test_one_byte_that_several_ranks_read_goes_to_each_of_them():
    same = plan(8, [8], [Piece(0, 0, 0, 0, 8, 1, 8, 8)], [])
    writes = list(Scatter([same, same, same], [FILE]).writes(0, Span(0, 8)))
    assert sorted(write.shard for write in writes) == [0, 1, 2]


def test_whole_runs_are_one_write_however_many():
    columns = plan(1000, [500], [Piece(0, 0, 0, 0, 5, 100, 10, 5)], [])
    (write,) = Scatter([columns], [FILE]).writes(0, Span(0, 1000))
    assert write == Write(0, 0, 0, 5, 100, 10, 5)


@pytest.mark.parametrize(
    ("span", "runs"),
    [
        (Span(0, 3), [(0, 0, 3, 1)]),
        (Span(3, 10), [(0, 3, 2, 1)]),
        (Span(5, 10), []),
        (Span(3, 22), [(0, 3, 2, 1), (7, 5, 5, 1), (17, 10, 2, 1)]),
    ],
    ids=["begins a run", "ends a run", "between two runs", "an end, a whole one and a beginning"],
)
def test_a_run_is_cut_where_the_span_ends(span, runs):
    columns = plan(1000, [500], [Piece(0, 0, 0, 0, 5, 100, 10, 5)], [])
    writes = Scatter([columns], [FILE]).writes(0, span)
    assert [(w.source, w.place, w.run, w.runs) for w in writes] == runs


def test_memories_of_two_parameters_lie_apart():
    two = plan(16, [8, 8], [Piece(0, 8, 1, 0, 8, 1, 8, 8)], [])
    (write,) = Scatter([two], [FILE]).writes(0, Span(0, 16))
    assert write.place == two.places[1] >= 8


def test_a_span_is_held_against_the_pieces_of_its_own_stretches_alone():
    whole = Piece(0, 0, 0, 0, 2**20, 1, 2**20, 2**20)
    short = [Piece(0, n * 64, 1, 0, 64, 1, 64, 64) for n in range(2**14)]
    scatter = Scatter([plan(2**20, [2**20, 64], [whole, *short], [])], [FILE], stretch=64)
    looked_at = list(scatter.writes(0, Span(2**20 - 64, 2**20)))
    assert [write.run for write in looked_at] == [64, 64]
    (found,) = scatter._files.values()
    assert max(map(len, found.pieces.values())) == 2
