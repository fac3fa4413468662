"""A repository brings the file that tells an engine where its weights are, and names its own."""

import pytest

from cache_server.core.content import Listing, ModelSpec, OriginFile, select
from replica_agent.handover.place import NAME
from tests.hostile.names import assert_refused, assert_taken


@pytest.mark.parametrize("path", [NAME, f"sub/{NAME}", NAME.upper(), f"{NAME}.new", f"{NAME}/x"])
def test_the_file_that_an_engine_finds_its_agent_by_is_nobody_elses(path: str):
    assert_refused(path, match="kept for Warmline itself")


@pytest.mark.parametrize("path", ["warmline.json", ".warmline.jsonl", ".warmline/x.json"])
def test_names_beside_it_are_anybodys(path: str):
    assert_taken(path)


def test_a_repository_that_has_one_by_mistake_is_served_without_it():
    files = tuple(OriginFile(path, 1, "tag") for path in (NAME, "config.json"))
    chosen = select(ModelSpec("m", "file:///m", exclude=(NAME,)), Listing("r", files))
    assert [file.path for file in chosen.files] == ["config.json"]
