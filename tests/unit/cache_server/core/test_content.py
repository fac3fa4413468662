import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import MalformedError, OriginNotFoundError, UnsafeContentError
from cache_protocol.formats import Hazard
from cache_protocol.manifest import MAX_FILE_SIZE
from cache_server.core import content as module
from cache_server.core.content import (
    Content,
    LeftOut,
    Listing,
    ModelContent,
    ModelSpec,
    OriginFile,
    dump_content,
    is_lawful,
    load_content,
    select,
)
from tests.unit.cache_protocol import legal


def file(path: str, size: int = 1) -> OriginFile:
    return OriginFile(path, size, "tag")


def listing(*paths: str) -> Listing:
    return Listing("c0ffee", tuple(file(p) for p in paths))


def selected(*paths: str, **spec) -> list[str]:
    chosen = select(ModelSpec("m", "file:///m", **spec), listing(*paths))
    return [f.path for f in chosen.files]


def test_small_files_come_before_weights_and_both_by_name():
    assert selected("b.safetensors", "tokenizer.json", "a.safetensors", "config.json") == [
        "config.json",
        "tokenizer.json",
        "a.safetensors",
        "b.safetensors",
    ]


def test_without_globs_everything_is_wanted():
    assert selected("a", "b/c") == ["a", "b/c"]


def test_globs_match_the_whole_path_and_exclude_wins():
    paths = ("a.dat", "onnx/a.json", "a.json", "b.JSON")
    assert selected(*paths, include=("*.json",)) == ["a.json", "onnx/a.json"]
    assert selected(*paths, include=("*.json",), exclude=("onnx/*",)) == ["a.json"]


def test_nothing_left_says_what_there_was_and_what_was_asked():
    with pytest.raises(OriginNotFoundError, match=r"has 1 files and none .*\['\*.gguf'\]"):
        selected("a.dat", include=("*.gguf",))


def test_a_bad_name_that_nobody_wants_does_no_harm():
    assert selected("../x", "a.json", include=("a.json",)) == ["a.json"]


@pytest.mark.parametrize("paths", [("../x",), ("/x",), ("a", "A"), ("a", "a/b"), ("a\x1b[2J",)])
def test_a_wanted_name_that_is_unsafe_is_malformed_and_shown_in_ascii(paths: tuple[str, ...]):
    with pytest.raises(MalformedError) as caught:
        selected(*paths)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("size", [-1, MAX_FILE_SIZE + 1])
def test_a_size_out_of_bounds_is_malformed(size: int):
    with pytest.raises(MalformedError, match=str(size)):
        select(ModelSpec("m", "file:///m"), Listing("r", (file("a", size),)))


def test_more_files_than_the_bound_are_malformed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_FILES", 1)
    with pytest.raises(MalformedError, match="has 2 files, above 1"):
        selected("a", "b")


@pytest.mark.parametrize(
    ("source", "kept"),
    [("hf://o/n@main", "hf://o/n"), ("hf://o/n", "hf://o/n"), ("s3://b/a@b", "s3://b/a@b")],
)
def test_a_moving_revision_is_not_part_of_a_resolved_source(source: str, kept: str):
    assert select(ModelSpec("m", source), listing("a")).source == kept


@given(st.lists(legal.paths, min_size=1, max_size=6, unique=True), st.randoms())
def test_a_selection_does_not_depend_on_the_order_of_the_listing(paths: list[str], random):
    # With weights among them: what a name may be is sometimes ``.py``, and left out.
    numbered = ["w.safetensors", *(f"{n}/{p}" for n, p in enumerate(paths))]
    assert selected(*numbered) == selected(*random.sample(numbered, len(numbered)))


def test_globs_are_made_into_patterns_once_and_not_for_every_file(monkeypatch):
    made: list[str] = []
    translate = module.translate
    monkeypatch.setattr(module, "translate", lambda glob: made.append(glob) or translate(glob))
    selected("a.json", "b.json", "c.json", include=("*.json",), exclude=("d*", "e*"))
    assert sorted(made) == ["*.json", "d*", "e*"]


MIXED = ("a.safetensors", "a.bin", "modeling.py", "config.json")


def test_pickles_and_code_are_left_out_and_listed():
    chosen = select(ModelSpec("m", "file:///m"), listing(*MIXED))
    assert [f.path for f in chosen.files] == ["config.json", "a.safetensors"]
    assert chosen.left_out == (
        LeftOut("a.bin", 1, Hazard.PICKLE),
        LeftOut("modeling.py", 1, Hazard.CODE),
    )


def test_what_the_owner_allows_is_kept():
    assert "a.bin" in selected(*MIXED, allow_pickle=True)
    assert "modeling.py" not in selected(*MIXED, allow_pickle=True)
    assert "modeling.py" in selected(*MIXED, allow_code=True)
    assert "a.bin" not in selected(*MIXED, allow_code=True)


def test_what_nobody_wants_is_not_listed_as_left_out():
    spec = ModelSpec("m", "file:///m", exclude=("*.bin",))
    assert [o.path for o in select(spec, listing(*MIXED)).left_out] == ["modeling.py"]


def test_a_glob_does_not_allow_a_pickle():
    assert selected(*MIXED, include=("a.*",)) == ["a.safetensors"]


@pytest.mark.parametrize("include", [(), ("*.bin",)])
def test_a_source_with_no_weights_but_pickles_is_refused_with_the_switch(include):
    with pytest.raises(UnsafeContentError, match=r"at c0ffee: 1 files .*'a.bin'.*say allow_pickle"):
        selected("a.bin", "config.json", include=include)


def test_the_bad_name_of_a_file_that_is_left_out_does_no_harm():
    assert selected("../x.bin", "a.safetensors") == ["a.safetensors"]


def test_content_from_before_the_rule_is_lawful_only_without_pickles_and_code():
    spec = ModelSpec("m", "file:///m", allow_code=True)
    content = Content("default", "p", (select(replace(spec, allow_pickle=True), listing(*MIXED)),))
    assert not is_lawful(content, (spec,))
    assert not is_lawful(content, ())
    assert is_lawful(content, (replace(spec, allow_pickle=True),))


def test_what_was_left_out_is_shown_but_is_no_content():
    model = ModelContent("m", "file:///m", "r", None, (file("a"),))
    shown = replace(model, left_out=(LeftOut("a.bin", 1, Hazard.PICKLE),))
    one, other = (Content("default", "p", (m,)) for m in (model, shown))
    assert one.generation == other.generation
    assert load_content(json.loads(json.dumps(dump_content(other)))) == other


def test_content_that_was_written_before_the_rule_is_read():
    content = Content("default", "p", (ModelContent("m", "file:///m", "r", None, (file("a"),)),))
    fields = dump_content(content)
    del fields["models"][0]["left_out"]
    assert load_content(fields) == content


def test_the_words_of_a_model_say_nothing_of_what_nobody_allowed():
    spec = ModelSpec("m", "file:///m", allow_code=True)
    assert spec.words()["allow_code"] is True
    assert "allow_pickle" not in spec.words()


files = st.builds(
    OriginFile,
    path=legal.paths,
    size=legal.sizes,
    tag=st.text(max_size=8),
    sha256=st.none() | legal.sha256s,
    git_sha1=st.none() | legal.sha256s.map(lambda h: h[:40]),
)
contents = st.builds(
    Content,
    tenant=legal.pipelines,
    pipeline=legal.pipelines,
    models=st.lists(
        st.builds(
            ModelContent,
            name=legal.models,
            source=legal.texts,
            revision=legal.texts,
            credentials=st.none() | legal.texts,
            files=st.lists(files, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)


@given(contents)
def test_content_is_the_same_after_a_stay_on_disk(content: Content):
    loaded = load_content(json.loads(json.dumps(dump_content(content))))
    assert loaded == content
    assert loaded.generation == content.generation


@given(contents, contents)
def test_two_contents_have_one_generation_only_if_they_are_equal(one: Content, other: Content):
    assert (one.generation == other.generation) == (one == other)


@given(contents)
def test_equal_weights_of_two_tenants_or_pipelines_are_two_generations(content: Content):
    assert replace(content, tenant=content.tenant + "x").generation != content.generation
    assert replace(content, pipeline=content.pipeline + "x").generation != content.generation


@given(contents)
def test_a_generation_is_what_a_manifest_takes_for_one(content: Content):
    assert re.fullmatch(r"[0-9a-f]{32}", content.generation)


def test_the_size_is_that_of_all_files_of_all_models():
    asr = ModelContent("asr", "file:///a", "r", None, (file("a", 3), file("b", 4)))
    tts = ModelContent("tts", "file:///t", "r", None, (file("a", 5),))
    assert Content("default", "voice", (asr, tts)).size == 12


@pytest.mark.parametrize("fields", [{}, {"tenant": "t", "pipeline": "p", "models": [{}]}])
def test_content_with_a_field_missing_is_no_content(fields: dict[str, object]):
    with pytest.raises(KeyError):
        load_content(fields)


def test_content_with_a_field_too_many_is_no_content():
    model = ModelContent("m", "file:///m", "r", None, (file("a"),))
    fields = dump_content(Content("default", "p", (model,)))
    fields["models"][0]["files"][0]["owner"] = "x"
    with pytest.raises(TypeError, match="owner"):
        load_content(fields)


def test_who_might_read_it_is_kept_and_makes_no_other_generation():
    public = Content("default", "p", (ModelContent("m", "hf://o/n", "r", None, (file("a"),)),))
    gated = replace(public, models=(replace(public.models[0], restricted=True),))
    assert gated.generation == public.generation
    assert load_content(dump_content(gated)) == gated


def test_of_content_that_an_older_version_resolved_nobody_knows_who_might_read_it():
    dumped = dump_content(
        Content("default", "p", (ModelContent("m", "hf://o/n", "r", None, (file("a"),)),))
    )
    for model in dumped["models"]:
        del model["restricted"]
    assert load_content(dumped).models[0].restricted is None
