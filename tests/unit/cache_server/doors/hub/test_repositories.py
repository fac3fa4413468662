"""What a slot's content looks like from the hub."""

from cache_server.core.content import Content, ModelContent, ModelSpec, OriginFile
from cache_server.doors.hub.repositories import at, repositories

A, B = "a" * 40, "b" * 40


def model(name, source, revision=A, *paths):
    files = tuple(OriginFile(p, 1, p, git_sha1="1" * 40) for p in paths or ("config.json",))
    return ModelContent(name, source, revision, None, files)


def found(*models, specs=()):
    return repositories(Content("default", "voice", models), specs)


def test_each_model_of_another_repository_is_a_repository_of_its_own():
    both = found(model("asr", "hf://org/asr"), model("llm", "hf://gpt2", B))
    assert [(r.id, r.commit) for r in both] == [("org/asr", A), ("gpt2", B)]


def test_models_of_one_repository_at_one_commit_lie_side_by_side():
    weights = model("w", "hf://org/m", A, "z.safetensors")
    (one,) = found(weights, model("c", "hf://org/m", A, "config.json"))
    assert [(path, e.model) for path, e in one.files.items()] == [
        ("config.json", "c"),
        ("z.safetensors", "w"),
    ]


def test_main_is_what_the_slot_has_whatever_was_registered():
    of_tag = found(model("m", "hf://org/m"), specs=[ModelSpec("m", "hf://org/m", revision="v1.2")])
    for name in ("main", "v1.2", A):
        assert at(of_tag, name) is of_tag[0]
    assert at(of_tag, "v1.3") is None
    assert at(of_tag, B) is None


def test_a_revision_in_the_source_is_a_name_too():
    tagged = found(model("m", "hf://org/m"), specs=[ModelSpec("m", "hf://org/m@refs/pr/1")])
    assert at(tagged, "refs/pr/1") is tagged[0]


def test_two_commits_of_one_repository_each_answer_to_their_own_names():
    both = found(
        model("old", "hf://org/m", A),
        model("new", "hf://org/m", B),
        specs=[ModelSpec("old", "hf://org/m@v1"), ModelSpec("new", "hf://org/m@v2")],
    )
    assert [r.commit for r in (at(both, "v1"), at(both, "v2"), at(both, "main"))] == [A, B, A]


def test_no_repository_has_no_revision():
    assert at([], "main") is None
