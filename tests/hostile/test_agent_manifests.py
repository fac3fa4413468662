"""Manifests that lie: each ends in a clear error before anything is mapped or asked for."""

import json
import os
import tracemalloc

import pytest

from cache_protocol.errors import CapacityError, MalformedError
from cache_protocol.manifest import MAX_FILE_SIZE, dump_manifest
from replica_agent.client import ControlClient
from replica_agent.files import pull_to
from tests.fakes.agents import pull
from tests.fakes.node import FakeNode


@pytest.fixture
def node():
    with FakeNode({"asr": {"a.dat": b"a", "b.dat": b"b"}}) as node:
        yield node


def lie(node, **fields):
    """Change fields of the first file."""
    manifest = dump_manifest(node.manifest())
    manifest["models"]["asr"]["files"][0].update(fields)
    node.faults.manifest = json.dumps(manifest).encode()


def test_an_absurd_size_is_refused_without_taking_memory(node):
    lie(node, size=MAX_FILE_SIZE)
    tracemalloc.start()
    try:
        with pytest.raises(CapacityError, match=str(MAX_FILE_SIZE + 4096)):
            pull(node)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


def test_an_absurd_size_is_refused_without_taking_the_disk(node, tmp_path, monkeypatch):
    lie(node, size=MAX_FILE_SIZE)
    taken: list[int] = []
    monkeypatch.setattr(os, "posix_fallocate", lambda _fd, _at, size: taken.append(size))
    client = ControlClient(node.url, node.token)
    with (
        pull_to(client, node.pipeline, tmp_path) as pull,
        pytest.raises(CapacityError, match=f"do not fit into {tmp_path}: [0-9]+ bytes are free"),
    ):
        pull.wait()
    assert taken == []


@pytest.mark.parametrize("size", [-1, 2**80, 1.5, "1", None, True])
def test_a_size_that_is_none_is_malformed(node, size):
    lie(node, size=size)
    with pytest.raises(MalformedError):
        pull(node)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "a\\b", "a\0b", "", "B.DAT"])
def test_a_name_that_leaves_the_directory_or_collides_is_malformed(node, path):
    lie(node, path=path)
    with pytest.raises(MalformedError):
        pull(node)


@pytest.mark.parametrize("field", ["urls", "digests", "verdict"])
@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x",
        "file:///etc/passwd",
        "http://127.0.0.1:1/x\r\nX-Evil: 1",
        "http://127.0.0.1:1/x HTTP/1.1\r\n\r\nGET /y",
        "http://127.0.0.1\r\n:1/x",
        "http://127.0.0.1:99999/",
    ],
)
def test_a_url_that_is_none_of_ours_is_never_followed(node, field, url):
    lie(node, **{field: [url] if field == "urls" else url})
    with pytest.raises(MalformedError):
        pull(node)
    assert node.requests("files") == []


def test_a_manifest_that_names_two_nodes_is_malformed(node):
    lie(node, digests="http://127.0.0.1:1/x")
    with pytest.raises(MalformedError, match="2 nodes"):
        pull(node)


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{}", b"\xff", b"[" * 100_000])
def test_what_is_no_manifest_is_malformed(node, body):
    node.faults.manifest = body or b" "
    with pytest.raises(MalformedError):
        pull(node)


def test_a_manifest_without_end_is_cut_off(node, monkeypatch):
    monkeypatch.setattr("replica_agent.client.MAX_MANIFEST", 1000)
    node.faults.manifest = b" " * 100_000
    with pytest.raises(MalformedError, match="more than 1000 bytes"):
        pull(node)


def test_one_generation_with_two_lists_of_files_is_malformed(node):
    answers = iter([node.manifest()])
    manifest = node.manifest

    def changing():
        first = next(answers, None)
        if first is None:
            node.models["asr"]["c.dat"] = b"c"
        return first or manifest()

    node.manifest = changing
    node.faults.refuse.append(("files", 503, None))
    with pytest.raises(MalformedError, match="two lists"):
        pull(node, patience=5)
