import re

from cache_server.core.commits import commit_of, repository_of, tag_of
from cache_server.core.content import Content, ModelContent, OriginFile

COMMIT = "c0ffee" + "0" * 34
PLAIN = OriginFile("config.json", 2, "1:2:3")


def model(source: str, *files: OriginFile, revision: str = "digest-of-a-listing") -> ModelContent:
    return ModelContent("asr", source, revision, None, files or (PLAIN,))


def generation(*models: ModelContent) -> str:
    return Content("default", "voice", models).generation


def test_a_model_from_the_hub_keeps_its_repository_and_commit():
    hub = model("hf://org/name", revision=COMMIT)
    assert (repository_of("voice", hub), commit_of(generation(hub), hub)) == ("org/name", COMMIT)


def test_a_repository_of_one_segment_keeps_its_id():
    assert repository_of("voice", model("hf://gpt2", revision=COMMIT)) == "gpt2"


def test_a_model_from_elsewhere_is_called_after_pipeline_and_model():
    for source in ("s3://bucket/prefix", "file:///srv/model"):
        assert repository_of("voice", model(source)) == "voice/asr"


def test_a_made_up_commit_looks_like_one_and_begins_with_the_generation():
    upload = model("s3://bucket/prefix")
    commit = commit_of(generation(upload), upload)
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert commit.startswith(generation(upload))


def test_other_content_has_another_made_up_commit():
    one, other = model("file:///m", revision="1"), model("file:///m", revision="2")
    assert commit_of(generation(one), one) != commit_of(generation(other), other)


def test_a_tag_is_the_digest_that_the_origin_knows():
    lfs = OriginFile("w.safetensors", 9, "t", sha256="a" * 64)
    small = OriginFile("config.json", 2, "t", git_sha1="b" * 40)
    assert tag_of(model("hf://o/n"), lfs) == "a" * 64
    assert tag_of(model("hf://o/n"), small) == "b" * 40


def test_a_made_up_tag_looks_like_that_of_a_small_file_so_that_no_client_takes_it_for_a_sha256():
    assert re.fullmatch("[0-9a-f]{40}", tag_of(model("s3://bucket/m"), PLAIN))


def test_a_file_that_did_not_change_keeps_its_tag_in_the_next_generation():
    before = model("s3://bucket/m", PLAIN, revision="1")
    after = model("s3://bucket/m", PLAIN, OriginFile("more.json", 1, "t"), revision="2")
    assert tag_of(before, PLAIN) == tag_of(after, PLAIN)


def test_files_of_other_bytes_places_or_sizes_have_other_tags():
    changed = [
        (model("s3://bucket/m"), PLAIN),
        (model("s3://bucket/n"), PLAIN),
        (model("s3://bucket/m"), OriginFile("other.json", 2, "1:2:3")),
        (model("s3://bucket/m"), OriginFile("config.json", 2, "1:2:4")),
        (model("s3://bucket/m"), OriginFile("config.json", 3, "1:2:3")),
    ]
    assert len({tag_of(m, f) for m, f in changed}) == len(changed)
