import json
import os
from pathlib import Path

import pytest

from cache_protocol.errors import MalformedError
from cache_protocol.manifest import dump_manifest, parse_manifest
from replica_agent.boot import remembered
from replica_agent.boot.places import is_trusted
from replica_agent.boot.remembered import recall, remember
from replica_agent.origin import Wanted
from tests.fakes.node import FakeNode


@pytest.fixture
def manifest():
    with FakeNode({"llm": {"a/b.json": b"{}"}}) as node:
        return parse_manifest(json.dumps(dump_manifest(node.manifest())).encode())


def test_a_manifest_is_remembered_without_its_rights_to_read(tmp_path, manifest):
    state = tmp_path / "not" / "there"
    remember(state, manifest)
    assert recall(state, "voice") == {"llm": Wanted("file:///llm", "1", ("a/b.json",))}
    text = (state / "voice.json").read_text()
    assert "http" not in text
    assert (state / "voice.json").stat().st_mode & 0o077 == 0


def test_the_last_manifest_takes_the_place_of_the_one_before(tmp_path, manifest):
    for _ in range(2):
        remember(tmp_path, manifest)
    assert [p.name for p in tmp_path.iterdir()] == ["voice.json"]


def test_nothing_is_known_of_a_pipeline_that_never_came(tmp_path):
    assert recall(tmp_path, "voice") == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"models": {"llm": {"source": 1, "revision": null, "files": []}}}',
        '{"models": {"llm": {"source": "file:///", "revision": null, "files": ["../x"]}}}',
        '{"models": {"../llm": {"source": "file:///", "revision": null, "files": []}}}',
    ],
)
def test_what_is_not_ours_is_refused(tmp_path, text):
    (tmp_path / "voice.json").write_text(text)
    with pytest.raises(MalformedError):
        recall(tmp_path, "voice")


@pytest.mark.parametrize("whose", ["directory", "file"])
def test_what_another_user_left_in_our_place_does_not_count(tmp_path, manifest, monkeypatch, whose):
    remember(tmp_path, manifest)
    foreign = tmp_path if whose == "directory" else tmp_path / "voice.json"
    monkeypatch.setattr(remembered, "is_trusted", lambda place: place != foreign)
    assert recall(tmp_path, "voice") == {}


def test_nothing_is_written_into_a_directory_of_another_user(tmp_path, manifest, monkeypatch):
    monkeypatch.setattr(remembered, "is_trusted", lambda _: False)
    with pytest.raises(PermissionError, match="neither ours nor root's"):
        remember(tmp_path, manifest)
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_trusted_when_it_is_ours_or_roots(tmp_path, monkeypatch):
    assert is_trusted(tmp_path)
    assert is_trusted(Path("/"))
    owner = tmp_path.stat().st_uid
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    assert is_trusted(tmp_path) is (owner == 0)
