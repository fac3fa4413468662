"""How the attacks by name are carried out: where the node checks, and where the agent does."""

import json
from collections.abc import Sequence

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import MalformedError
from cache_protocol.manifest import parse_manifest
from cache_server.core.content import Listing, ModelSpec, OriginFile, select


def manifest_of(paths: Sequence[str]) -> bytes:
    files = [
        {"path": p, "size": 1, "sha256": None, "urls": ["u"], "digests": "d", "verdict": "v"}
        for p in paths
    ]
    model = {"source": "file:///m", "revision": "r", "files": files}
    return json.dumps(
        {
            "wire": 1,
            "pipeline": "p",
            "generation": "0" * 32,
            "lease": {"id": "l", "expires": "2026-11-20T12:00:00Z"},
            "chunk_size": CHUNK_SIZE,
            "models": {"m": model},
        }
    ).encode()


def on_the_node(paths: Sequence[str]) -> None:
    files = tuple(OriginFile(p, 1, "tag") for p in paths)
    select(ModelSpec("m", "file:///m"), Listing("r", files))


def on_the_agent(paths: Sequence[str]) -> None:
    parse_manifest(manifest_of(paths))


def assert_refused(*paths: str, match: str | None = None) -> None:
    """Assert that both sides refuse ``paths`` in any order, in words a terminal can show."""
    for check in (on_the_node, on_the_agent):
        for order in (paths, paths[::-1]):
            with pytest.raises(MalformedError, match=match) as caught:
                check(order)
            assert str(caught.value).isprintable()
            assert str(caught.value).isascii()


def assert_taken(*paths: str) -> None:
    """Assert that both sides take ``paths``."""
    on_the_node(paths)
    on_the_agent(paths)
