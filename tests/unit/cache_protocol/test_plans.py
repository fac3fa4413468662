import json
from dataclasses import asdict, replace
from itertools import starmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import MalformedError
from cache_protocol.manifest import MAX_FILE_SIZE, File, Model
from cache_protocol.plans import (
    ALIGNMENT,
    MAX_PLAN,
    MAX_RANKS,
    MAX_REACH,
    MAX_READS,
    MIN_RUN,
    Kept,
    Key,
    Parameter,
    Piece,
    Plan,
    PlannedFile,
    check_files,
    checkpoint_digest,
    dump_key,
    dump_plan,
    parse_key,
    parse_plan,
)
from cache_protocol.safetensors_header import BITS
from tests.fakes.plans import KEY, plan
from tests.unit.cache_protocol import legal

PLAN = plan()
words = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=20)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Return any plan whose parts lie where they can."""
    files = draw(st.dictionaries(legal.paths, st.integers(0, 1000), min_size=1, max_size=3))
    shapes = st.lists(st.integers(0, 16), max_size=3).map(tuple)
    fields = st.tuples(st.sampled_from(sorted(BITS)), shapes)
    named = draw(st.dictionaries(words, fields, max_size=3))
    sizes = list(files.values())
    most = MAX_READS * sum(sizes) // 3  # bytes of one of at most three
    parameters = tuple(p for p in starmap(_parameter, named.items()) if p.size <= most)
    rows = draw(st.lists(_rows(sizes, parameters), max_size=4))
    return Plan(
        draw(st.builds(replace, st.just(KEY), rank=st.just(0), version=words)),
        tuple(PlannedFile(*each) for each in files.items()),
        parameters,
        tuple(piece for piece in rows if piece is not None),
        tuple(draw(st.lists(_kept(sizes), max_size=3))),
    )


def _parameter(name: str, rest: tuple[str, tuple[int, ...]]) -> Parameter:
    return Parameter(name, *rest)


@st.composite
def _rows(draw: st.DrawFn, sizes: list[int], parameters: tuple[Parameter, ...]) -> Piece | None:
    if not parameters:
        return None
    file, parameter = (
        draw(st.sampled_from(range(len(sizes)))),
        draw(st.sampled_from(range(len(parameters)))),
    )
    run, runs = draw(st.integers(MIN_RUN, 80)), draw(st.integers(1, 5))
    pitch, stride = (run + draw(st.integers(0, 8)) for _ in range(2))
    room = sizes[file] - (runs - 1) * pitch - run
    space = parameters[parameter].size - (runs - 1) * stride - run
    if min(room, space) < 0:
        return None
    begin, place = draw(st.integers(0, room)), draw(st.integers(0, space))
    return Piece(file, begin, parameter, place, run, runs, pitch, stride)


@st.composite
def _kept(draw: st.DrawFn, sizes: list[int]) -> Kept:
    file = draw(st.sampled_from(range(len(sizes))))
    end = draw(st.integers(0, sizes[file]))
    return Kept(file, draw(st.integers(0, end)), end)


@given(plans())
def test_every_lawful_plan_comes_back_as_it_was(made: Plan):
    assert parse_plan(dump_plan(made)) == made


@given(plans(), plans())
def test_two_plans_have_one_fingerprint_only_where_they_are_equal(one: Plan, other: Plan):
    assert (one.fingerprint == other.fingerprint) == (one == other)


@given(plans())
def test_parameters_lie_apart_in_the_rank_s_memory(made: Plan):
    ends = [0]
    for begin, parameter in zip(made.places, made.parameters, strict=False):
        assert begin % ALIGNMENT == 0
        assert begin >= ends[-1]
        ends.append(begin + parameter.size)
    assert made.size == made.places[-1] >= ends[-1]


def test_the_fingerprint_is_that_of_the_document():
    again = parse_plan(json.dumps(json.loads(dump_plan(PLAN)), indent=2).encode())
    assert again.fingerprint == PLAN.fingerprint


def test_what_is_read_is_counted_as_often_as_it_is_read():
    assert PLAN.read == 8 * 64 + 8 * 64 + 128 + 64 + 8
    assert replace(PLAN, pieces=PLAN.pieces * 2).read == PLAN.read + 8 * 64 + 8 * 64 + 128


# Keys.


@given(st.builds(replace, st.just(KEY), version=words, layout=words, dtype=words))
def test_a_key_comes_back_as_it_was(key: Key):
    assert parse_key(json.loads(json.dumps(dump_key(key)))) == key


@pytest.mark.parametrize("field", [f for f in asdict(KEY) if f not in ("ranks", "rank")])
def test_with_another_of_any_of_its_words_it_is_another_key(field: str):
    assert replace(KEY, **{field: "other"}).digest != KEY.digest


def test_another_rank_is_another_key():
    digests = {replace(KEY, rank=rank).digest for rank in (0, 1)} | {replace(KEY, ranks=3).digest}
    assert len(digests) == 3
    assert all(len(d) == 32 and int(d, 16) >= 0 for d in digests)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 2},
        {"rank": -1},
        {"rank": "0"},
        {"rank": True},
        {"rank": 0.0},
        {"ranks": 0},
        {"ranks": MAX_RANKS + 1},
        {"engine": None},
        {"engine": 1},
        {"engine": "x" * 201},
        {"engine": "\x1b[2J"},
        {"engine": "a\nb"},
        {"checkpoint": ["x"]},
    ],
    ids=str,
)
def test_a_key_with_a_field_that_makes_no_sense_is_malformed(wrong: dict[str, object]):
    with pytest.raises(MalformedError):
        parse_key(asdict(KEY) | wrong)


@pytest.mark.parametrize("document", [None, [], "key", {}, {"x": 1}, {"engine": "vllm"}], ids=str)
def test_what_has_not_the_fields_of_a_key_is_malformed(document: object):
    with pytest.raises(MalformedError):
        parse_key(document)  # type: ignore[arg-type]


def test_a_field_that_no_key_has_is_malformed_in_few_words():
    with pytest.raises(MalformedError) as refused:
        parse_key(asdict(KEY) | {"x" * 10_000: 1})
    assert len(str(refused.value)) < 500


# Documents.


def spoiled(**parts: object) -> bytes:
    return json.dumps(json.loads(dump_plan(PLAN)) | parts).encode()


@pytest.mark.parametrize(
    "document",
    [b"", b"null", b"[]", b"{}", b"\xff\xfe", b'{"plan": 1}', b'"plan"', b"[" * 10_000],
    ids=lambda d: str(d[:12]),
)
def test_what_is_no_plan_is_malformed(document: bytes):
    with pytest.raises(MalformedError):
        parse_plan(document)


def test_a_plan_of_another_version_is_malformed_and_says_so():
    with pytest.raises(MalformedError, match="version '2', not 1"):
        parse_plan(spoiled(plan=2))


def test_a_plan_beyond_its_bound_is_not_even_parsed():
    with pytest.raises(MalformedError, match=str(MAX_PLAN)):
        parse_plan(b" " * (MAX_PLAN + 1))


@pytest.mark.parametrize(
    "parts",
    [
        {"files": [["a", 1], ["a", 1]]},
        {"files": [["../a", 4096]]},
        {"files": [["/a", 4096]]},
        {"files": [["a", -1]]},
        {"files": [["a", 1.0]]},
        {"files": [["a", True]]},
        {"files": [["a", MAX_FILE_SIZE + 1]]},
        {"files": [["a"]]},
        {"files": [["a", 1, 2]]},
        {"files": [[1, 1]]},
        {"files": None},
        {"files": 3},
        {"parameters": [["a", "BF16", [1]], ["a", "BF16", [1]]]},
        {"parameters": [["a", "BF17", [1]]]},
        {"parameters": [["a", [], [1]]]},
        {"parameters": [["a\n", "BF16", [1]]]},
        {"parameters": [["x" * 1025, "BF16", [1]]]},
        {"parameters": [["a", "BF16", [-1]]]},
        {"parameters": [["a", "BF16", ["1"]]]},
        {"parameters": [["a", "BF16", "12"]]},
        {"parameters": [["a", "BF16", 1]]},
        {"parameters": [["a", "BF16", [1] * 100]]},
        {"parameters": [["a", "U8", [MAX_FILE_SIZE, 2]]]},
        {"pieces": [[0, 0, 0, 0, 1, 1, 1]]},
        {"pieces": [[0, 0, 0, 0, 1, 1, 1, 1, 1]]},
        {"pieces": [["0", 0, 0, 0, 1, 1, 1, 1]]},
        {"pieces": [None]},
        {"pieces": ["00001111"]},
        {"kept": [[0, 0]]},
        {"kept": [[0, "0", 1]]},
        {"key": None},
    ],
    ids=lambda parts: str(parts)[:60],
)
def test_a_plan_of_the_wrong_form_is_malformed_in_few_words(parts: dict[str, object]):
    with pytest.raises(MalformedError) as refused:
        parse_plan(spoiled(**parts))
    assert len(str(refused.value)) < 2000


GOOD = Piece(0, 0, 0, 0, 64, 4, 128, 64)  # of 4096 bytes, into 1024


@pytest.mark.parametrize(
    ("forged", "words"),
    [
        (GOOD._replace(file=1), "not there"),
        (GOOD._replace(parameter=2), "not there"),
        (GOOD._replace(run=0), "runs of 0 bytes"),
        (GOOD._replace(run=MIN_RUN - 1), "runs of 63 bytes, not 64"),
        (GOOD._replace(runs=0), "no runs"),
        (GOOD._replace(pitch=63), "overlap"),
        (GOOD._replace(stride=63), "overlap"),
        (GOOD._replace(begin=4096 - 3 * 128 - 64 + 1), "outside model.safetensors"),
        (GOOD._replace(runs=2**40), "outside model.safetensors"),
        (GOOD._replace(pitch=2**40), "outside model.safetensors"),
        (GOOD._replace(place=1024 - 4 * 64 + 1), "outside the parameter a.weight"),
        (GOOD._replace(stride=2**40), "outside the parameter a.weight"),
        (
            GOOD._replace(run=1025, runs=1, pitch=1025, stride=1025),
            "outside the parameter a.weight",
        ),
    ],
)
def test_a_piece_that_lies_outside_is_malformed(forged: Piece, words: str):
    with pytest.raises(MalformedError, match=words):
        parse_plan(dump_plan(replace(PLAN, pieces=(forged,))))


@pytest.mark.parametrize(
    "edge",
    [
        GOOD._replace(begin=4096 - 3 * 128 - 64),
        GOOD._replace(place=1024 - 4 * 64),
        GOOD._replace(run=1024, runs=1, pitch=1024, stride=1024),
    ],
)
def test_a_piece_that_ends_at_the_very_end_is_lawful(edge: Piece):
    assert parse_plan(dump_plan(replace(PLAN, pieces=(edge,)))).pieces == (edge,)


def test_a_plan_that_reads_its_files_again_and_again_is_malformed():
    whole = Piece(0, 0, 0, 0, 1024, 1, 1024, 1024)
    most = (whole,) * (4 * MAX_READS)
    assert parse_plan(dump_plan(replace(PLAN, pieces=most, kept=()))).pieces == most
    for more in ({"pieces": (*most, whole)}, {"kept": (Kept(0, 0, 1024),)}):
        with pytest.raises(MalformedError, match="reads 17408 bytes of files that have 4096"):
            parse_plan(dump_plan(replace(PLAN, **{"pieces": most, "kept": (), **more})))


def test_a_plan_whose_pieces_stretch_over_its_files_again_and_again_is_malformed():
    far = Piece(0, 0, 0, 0, 64, 2, 4096 - 64, 64)
    most = (far,) * MAX_REACH
    assert parse_plan(dump_plan(replace(PLAN, pieces=most))).pieces == most
    with pytest.raises(MalformedError, match="stretch over 69632 bytes of files of 4096"):
        parse_plan(dump_plan(replace(PLAN, pieces=(*most, far))))


def test_a_plan_that_asks_for_more_memory_than_its_files_can_fill_is_malformed():
    most = Parameter("most", "U8", (MAX_READS * 4096,))
    lawful = replace(PLAN, parameters=(most,), pieces=())
    assert parse_plan(dump_plan(lawful)).size == MAX_READS * 4096
    forged = replace(lawful, parameters=(most._replace(shape=(MAX_READS * 4096 + ALIGNMENT + 1,)),))
    with pytest.raises(MalformedError, match="take 17408 bytes, of files of 4096"):
        parse_plan(dump_plan(forged))


def test_many_small_parameters_may_each_be_rounded_up():
    small = tuple(Parameter(str(n), "U8", (1,)) for n in range(100))
    assert parse_plan(dump_plan(replace(PLAN, parameters=small, pieces=()))).parameters == small


@pytest.mark.parametrize("kept", [Kept(1, 0, 1), Kept(0, 2, 1), Kept(0, 0, 4097)], ids=str)
def test_what_is_kept_lies_in_its_file(kept: Kept):
    with pytest.raises(MalformedError, match="outside their file"):
        parse_plan(dump_plan(replace(PLAN, kept=(kept,))))


# Checkpoints.


def model(**sha256: str | None) -> Model:
    files = (File(f"{name}.safetensors", 4096, s, (), "", "") for name, s in sha256.items())
    return Model("hf://o/n", "r", (*files, File("config.json", 2, "c" * 64, (), "", "")))


def test_the_files_of_a_plan_are_those_of_its_model():
    there = [("model.safetensors", 4096), ("config.json", 2)]
    check_files(PLAN, there)
    for other in ([], [("model.safetensors", 4095)], [("other.safetensors", 4096)]):
        with pytest.raises(MalformedError, match=r"'model\.safetensors' of 4096 bytes"):
            check_files(PLAN, other)


def test_a_checkpoint_is_its_weights_alone():
    one = model(a="a" * 64)
    elsewhere = replace(one, source="s3://b/p", revision="x", files=one.files[:1])
    assert checkpoint_digest(one, "g") == checkpoint_digest(elsewhere, "other")


def test_another_byte_or_name_is_another_checkpoint():
    made = [model(a="a" * 64), model(a="b" * 64), model(b="a" * 64), model(a="a" * 64, b="a" * 64)]
    assert len({checkpoint_digest(each, "g") for each in made}) == len(made)


def test_weights_that_nobody_knows_the_digest_of_are_those_of_their_generation():
    unknown = model(a=None)
    assert checkpoint_digest(unknown, "one") == checkpoint_digest(unknown, "one")
    assert checkpoint_digest(unknown, "one") != checkpoint_digest(unknown, "other")


def test_the_order_of_files_is_no_part_of_a_checkpoint():
    one = model(a="a" * 64, b="b" * 64)
    assert checkpoint_digest(one, "g") == checkpoint_digest(
        replace(one, files=one.files[::-1]), "g"
    )
