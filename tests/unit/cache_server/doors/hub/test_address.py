"""Paths of the hub's protocol, as clients write them."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_server.doors.hub.address import Kind, Question, parse

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("path", "question"),
    [
        ("api/whoami-v2", Question(Kind.WHOAMI)),
        ("api/models/org/name", Question(Kind.INFO, "org/name")),
        ("api/models/gpt2", Question(Kind.INFO, "gpt2")),
        ("api/models/org/name/revision/v1", Question(Kind.INFO, "org/name", "v1")),
        ("api/models/gpt2/revision/refs%2Fpr%2F1", Question(Kind.INFO, "gpt2", "refs/pr/1")),
        ("api/models/org/name/tree/main", Question(Kind.TREE, "org/name", "main")),
        ("api/models/gpt2/tree/v1/a/b", Question(Kind.TREE, "gpt2", "v1", "a/b")),
        ("api/models/org/name/paths-info/main", Question(Kind.PATHS, "org/name")),
        ("api/models/gpt2/refs", Question(Kind.REFS, "gpt2")),
        ("api/models/org/name/auth-check", Question(Kind.AUTH, "org/name")),
        ("org/name/resolve/main/a.json", Question(Kind.FILE, "org/name", "main", "a.json")),
        ("gpt2/resolve/main/sub/a%20b", Question(Kind.FILE, "gpt2", "main", "sub/a b")),
        ("org/name/resolve/a%2Fb/x", Question(Kind.FILE, "org/name", "a/b", "x")),
    ],
)
def test_what_clients_ask_is_understood(path, question):
    assert parse(path) == question


@pytest.mark.parametrize(
    ("path", "repository"),
    [
        ("org/resolve/resolve/main/x", "org/resolve"),
        ("api/models/org/tree/tree/main", "org/tree"),
        ("api/models/tree/name/tree/main", "tree/name"),
    ],
)
def test_a_word_of_the_protocol_may_be_somebody_s_name(path, repository):
    found = parse(path)
    assert found is not None
    assert (found.repository, found.revision) == (repository, "main")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "api",
        "api/agent-harnesses",
        "api/models",
        "api/models/",
        "api/models/a/b/c",
        "api/models/a/b/xet-read-token/main",
        "api/models/a/b/tree",
        "api/models/a/b/revision/",
        "api/models/a/b/revision/main/more",
        "api/datasets/a/b",
        "a/b/resolve/main",
        "a/b/resolve/main/",
        "a/b/raw/main/x",
        "/b/resolve/main/x",
    ],
)
def test_anything_else_asks_nothing_that_is_known(path):
    assert parse(path) is None


@given(st.lists(NAMES, min_size=2, max_size=2), NAMES, st.lists(NAMES, min_size=1, max_size=4))
def test_a_file_s_address_survives_its_encoding(repository, revision, path):
    def encoded(segments):
        return "/".join(quote(segment, safe="") for segment in segments)

    asked = f"{encoded(repository)}/resolve/{quote(revision, safe='')}/{encoded(path)}"
    assert parse(asked) == Question(Kind.FILE, "/".join(repository), revision, "/".join(path))


@given(st.text())
def test_no_path_breaks_the_parser(path):
    question = parse(path)
    assert question is None or question.kind is Kind.WHOAMI or question.repository
