"""Spoiled plans: to have a byte go beside its memory, or a document come back in a log."""

import json

from hypothesis import given

from cache_protocol.errors import MalformedError
from cache_protocol.names import check_path
from cache_protocol.plans import MAX_RANKS, dump_plan, parse_plan
from cache_protocol.ranges import Span
from replica_agent.plans.scatter import Scatter
from tests.fakes.plans import plan
from tests.hostile.mutations import ODD, encode, hunt, in_few_words, spoiled, spoiled_json

GOOD = json.loads(dump_plan(plan(files={"a/b.safetensors": 4096, "c": 0})))
TYPES = [*ODD, *("BF16", "F4", "BOOL", "../a", "a/b.safetensors"), [0] * 8, [0, 0, 4097]]
PIECES = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"0", b"-", b"9" * 30, b"NaN", b"\xff", b"[],"]
PIECES += [
    b"0,0,0,0,64,1,64,64",
    b'"BF16"',
    b"\\ud800",
    b'"pieces":[],',
    b"\xef\xbb\xbf",
    b" ",
    b"1e3",
]
MOST = 10_000  # bytes of a file that are counted out


def check(data: bytes) -> None:
    """Whatever ``data`` is: it is refused in few words, or every byte has its place."""
    try:
        made = parse_plan(data)
    except MalformedError as error:
        if not in_few_words(error):
            raise
        return
    assert 0 <= made.key.rank < made.key.ranks <= MAX_RANKS
    for path, _ in made.files:
        check_path(path)
    for kept in made.kept:
        assert 0 <= kept.begin <= kept.end <= made.files[kept.file].size
    scatter = Scatter([made], [path for path, _ in made.files])
    for file, (_, size) in enumerate(made.files):
        span = Span(0, min(size, MOST))
        for write in scatter.writes(file, span):
            assert write.source >= 0
            assert write.source + (write.runs - 1) * write.pitch + write.run <= span.size
            assert write.place + (write.runs - 1) * write.stride + write.run <= made.size
    assert parse_plan(dump_plan(made)) == made


def test_what_the_fuzzers_begin_with_is_good():
    assert len(parse_plan(encode(GOOD).encode()).pieces) == 3


@hunt(800)
@given(spoiled_json(GOOD, TYPES))
def test_a_plan_of_spoiled_structure_is_refused_or_every_byte_has_its_place(data):
    check(data)


@hunt(1000)
@given(spoiled(encode(GOOD).encode(), PIECES, most=3))
def test_a_plan_of_spoiled_text_is_refused_or_every_byte_has_its_place(data):
    check(data)
