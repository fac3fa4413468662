"""What programs of S3 do to a slot, and who evicts it to them; asked as through a proxy, too."""

import hashlib
import json
from urllib.request import ProxyHandler, build_opener

import pytest

from benchmarks.node import Node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.hub import Hub
from tests.integration.content import chunks
from tests.integration.programs import answer, cache_of, until
from tests.integration.s3_programs import access_to

FILES = {"w.dat": chunks(5, more=77), "config.json": b"{}"}
SHA256 = hashlib.sha256(FILES["w.dat"]).hexdigest()


@pytest.fixture
def cold(node: Node, hub: Hub, pipeline: str, repo: str) -> str:
    hub.commit(repo, FILES)
    node.put(pipeline, {"m": f"hf://{repo}"})
    return pipeline


@pytest.fixture
def warm(node: Node, cold: str) -> str:
    node.warm(cold)
    return cold


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


def test_a_head_of_the_first_byte_has_a_cold_slot_filled_and_any_other_has_not(
    node: Node, cold: str
) -> None:
    with access_to(node).boto3() as client:
        names = {"Bucket": cold, "Key": "m/w.dat"}
        assert client.head_object(**names)["ContentLength"] == len(FILES["w.dat"])
        assert cache_of(node, cold)["state"] == "cold"
        assert client.head_object(**names, Range="bytes=0-0")["ContentLength"] == 1
    until(lambda: cache_of(node, cold)["warm"])


def test_a_program_that_asks_by_the_whole_url_gets_the_object(node: Node, warm: str) -> None:
    with access_to(node).boto3() as client:
        names = {"Bucket": warm, "Key": "m/w.dat"}
        url = client.generate_presigned_url("get_object", names)
    # What goes to a proxy names the host in its first line.
    where = json.loads((node.root / "node.json").read_text())
    for plane in ("control", "data"):
        opener = build_opener(ProxyHandler({"http": where[plane]}))
        with opener.open(url, timeout=30) as got:
            assert hashlib.sha256(got.read()).hexdigest() == SHA256
