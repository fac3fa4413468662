"""Programs that say neither hello nor goodbye, while somebody evicts what they read."""

import hashlib

import pytest

from benchmarks.node import Node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.hub import Hub
from tests.integration.content import chunks
from tests.integration.programs import answer
from tests.integration.s3_programs import access_to

FILES = {"w.dat": chunks(5, more=77), "config.json": b"{}"}
SHA256 = hashlib.sha256(FILES["w.dat"]).hexdigest()


@pytest.fixture
def warm(node: Node, hub: Hub, pipeline: str, repo: str) -> str:
    hub.commit(repo, FILES)
    node.put(pipeline, {"m": f"hf://{repo}"})
    node.warm(pipeline)
    return pipeline


def evict(node: Node, pipeline: str, *, force: bool = False) -> tuple[int, str | None]:
    """Return the status of an eviction, and the code of its refusal."""
    said = answer(node, "POST", f"/v1/pipelines/{pipeline}/evict", {"force": force})
    return said[0], said[1].get("code")


def test_who_reads_through_s3_keeps_the_slot_and_loses_no_byte_to_force(
    node: Node, warm: str
) -> None:
    with access_to(node).boto3() as client:
        body = client.get_object(Bucket=warm, Key="m/w.dat")["Body"]
        begin = body.read(CHUNK_SIZE)
        assert evict(node, warm) == (409, "slot-in-use")
        assert evict(node, warm, force=True) == (200, None)
        assert hashlib.sha256(begin + body.read()).hexdigest() == SHA256

        # It comes again by itself, and is held again.
        again = client.get_object(Bucket=warm, Key="m/w.dat")["Body"]
        assert evict(node, warm) == (409, "slot-in-use")
        assert hashlib.sha256(again.read()).hexdigest() == SHA256
