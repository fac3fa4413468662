import pytest
from huggingface_hub.utils import HFValidationError, validate_repo_id
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import MalformedError
from cache_server.core.sources import Scheme, Source, parse_source


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf://org/name", Source(Scheme.HF, "org/name")),
        ("hf://gpt2", Source(Scheme.HF, "gpt2")),
        ("hf://org/name@v1.0", Source(Scheme.HF, "org/name", revision="v1.0")),
        ("hf://org/name@refs/pr/1", Source(Scheme.HF, "org/name", revision="refs/pr/1")),
        ("s3://bucket", Source(Scheme.S3, "bucket")),
        ("s3://bucket/", Source(Scheme.S3, "bucket")),
        ("s3://my.bucket-1/a/b/", Source(Scheme.S3, "my.bucket-1", prefix="a/b")),
        ("s3://bucket/a@b", Source(Scheme.S3, "bucket", prefix="a@b")),
        ("file:///srv/models/", Source(Scheme.FILE, "/srv/models")),
        ("file:///", Source(Scheme.FILE, "/")),
        ("file:///a b/ü", Source(Scheme.FILE, "/a b/ü")),
    ],
)
def test_each_form_is_read(text: str, source: Source):
    assert parse_source(text) == source


@pytest.mark.parametrize(
    "text",
    [
        "",
        "org/name",
        "http://host/a",
        "HF://org/name",
        "hf:org/name",
        "hf://",
        "hf://a/b/c",
        "hf://../name",
        "hf://org/name@",
        "hf://org/name@a@b",
        "hf://org/name@a b",
        "hf://org/näme",
        "hf://org/" + "a" * 97,
        "s3://",
        "s3://B/prefix",
        "s3://ab",
        "s3://bucket/../other",
        "s3://bucket_1",
        "file://",
        "file://relative",
        "file://host/path",
        "file:///srv/../etc",
        "file:///a\nb",
        "file:///a\0b",
        "file:///\u202e",
        "file:///" + "a" * 2048,
    ],
)
def test_what_has_none_of_the_forms_is_malformed(text: str):
    with pytest.raises(MalformedError, match="source"):
        parse_source(text)


@given(st.text("ab.-_/", min_size=1, max_size=12) | st.just("a.git") | st.just("a" * 97))
def test_a_hub_name_is_one_exactly_where_the_hub_says_so(name: str):
    try:
        validate_repo_id(name)
        theirs = True
    except HFValidationError:
        theirs = False
    try:
        parse_source(f"hf://{name}")
        ours = True
    except MalformedError:
        ours = False
    assert ours == theirs


sources = st.one_of(
    st.from_regex(r"hf://[a-z0-9]{1,9}(/[a-z0-9]{1,9})?(@[a-z0-9./]{1,9})?", fullmatch=True),
    st.builds("s3://{}/{}".format, st.sampled_from(["abc", "a.b-c"]), st.text("ab/@.", max_size=9)),
    st.builds("file:///{}".format, st.text("ab/@.", max_size=9)),
)


@given(sources | st.text(max_size=30))
def test_a_source_written_out_is_the_same_source_without_its_revision(text: str):
    try:
        source = parse_source(text)
    except MalformedError:
        return
    again = parse_source(str(source))
    assert (again.scheme, again.name, again.prefix) == (source.scheme, source.name, source.prefix)
    assert again.revision is None


@given(st.text(st.characters(), max_size=50))
def test_any_text_is_a_source_or_malformed_with_a_short_message(text: str):
    try:
        parse_source(text)
    except MalformedError as error:
        message = str(error)
    else:
        message = ""
    assert message.isprintable()
