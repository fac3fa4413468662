"""A tenant that registers what another one has, to reach, change or learn of the other's copy.

Both register one source under one name. Every attempt goes over real sockets of both planes.
"""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cache_server.catalogue.registry import Key
from cache_server.data.plane import DataPlane
from cache_server.store.ticket_keys import TicketKeys
from tests.fakes.control_plane import ControlPlane, control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.reader import Reader
from tests.fakes.service import SOURCE, Bench, chunks, running_service

WEIGHTS = chunks(1.5)
OURS, THEIRS = Key("ours", "voice"), Key("theirs", "voice")


@dataclass
class Node:
    bench: Bench
    origin: MemoryOrigin
    control: ControlPlane
    data: DataPlane

    def token(self, tenant: str) -> str:
        body, headers = {"role": "replica"}, {"Warmline-Tenant": tenant}
        return self.control.ask("POST", "/v1/tokens", body, headers=headers).json["token"]

    def manifest(self, tenant: str) -> dict:
        path = "/v1/pipelines/voice/manifest"
        return self.control.ask("GET", path, token=self.token(tenant)).json

    def files(self, key: Key) -> list[Path]:
        """Return what lies on disk of a slot."""
        return [p for p in self.bench.root.slot(*key).rglob("*") if p.is_file()]

    def get(self, url: str) -> tuple[int, bytes]:
        with Reader(self.data.address) as reader:
            reply = reader.get(url)
        return reply.status, reply.body


@contextmanager
def both_planes(bench: Bench, origin: MemoryOrigin) -> Iterator[Node]:
    keys = TicketKeys(bench.root.path)
    with closing(DataPlane(bench.service.library, keys, host="127.0.0.1", port=0)) as data:
        data.start()
        with control_plane(bench.service, tickets=keys, port=data.address[1]) as control:
            yield Node(bench, origin, control, data)


@pytest.fixture
def node(tmp_path) -> Iterator[Node]:
    origin = MemoryOrigin({"config.json": b"{}", "w.dat": WEIGHTS})
    with running_service(tmp_path / "root", MemoryOrigins({SOURCE: origin})) as bench:
        for key in (OURS, THEIRS):
            bench.put(key=key)
            assert bench.warm(key) is None
        with both_planes(bench, origin) as node:
            yield node


def addresses(manifest: dict) -> list[str]:
    """Return every URL of a manifest, without its host."""
    files = manifest["models"]["m"]["files"]
    urls = [url for f in files for url in (*f["urls"], f["digests"], f["verdict"])]
    return ["{0.path}?{0.query}".format(urlsplit(url)) for url in urls]


def test_one_source_of_two_tenants_is_pulled_twice_and_shares_no_file(node):
    assert node.origin.sent["w.dat"] == 2 * len(WEIGHTS)
    ours, theirs = ({os.stat(p).st_ino for p in node.files(key)} for key in (OURS, THEIRS))
    assert ours
    assert ours.isdisjoint(theirs)
    assert all(os.stat(p).st_nlink == 1 for p in node.files(OURS))


def test_every_address_of_a_manifest_is_of_its_own_generation(node):
    ours, theirs = node.manifest("ours"), node.manifest("theirs")
    assert ours["generation"] != theirs["generation"]
    assert all(f"/{ours['generation']}/" in url for url in addresses(ours))
    assert {node.get(url)[0] for url in addresses(ours)} == {200}


def test_a_ticket_of_ours_opens_none_of_their_addresses(node):
    pairs = zip(addresses(node.manifest("ours")), addresses(node.manifest("theirs")), strict=True)
    mixed = [f"{theirs.partition('?')[0]}?{ours.partition('?')[2]}" for ours, theirs in pairs]
    assert {node.get(url)[0] for url in mixed} == {403}


def test_a_ticket_of_ours_that_claims_to_be_theirs_opens_nothing(node):
    claimed = [
        url.replace("tenant=ours", "tenant=theirs") for url in addresses(node.manifest("ours"))
    ]
    assert {node.get(url)[0] for url in claimed} == {403}


def test_our_lease_is_not_in_the_way_of_what_they_do_with_theirs(node):
    node.manifest("ours")
    headers = {"Warmline-Tenant": "theirs"}
    assert node.control.ask("POST", "/v1/pipelines/voice/evict", headers=headers).status == 200


def test_what_they_remove_stays_with_us(node):
    theirs = addresses(node.manifest("theirs"))
    ours = addresses(node.manifest("ours"))
    node.bench.service.removal.remove(THEIRS, force=True)
    assert {node.get(url)[0] for url in theirs} == {410}
    assert WEIGHTS in [node.get(url)[1] for url in ours]


def test_what_rots_with_them_is_whole_with_us(node):
    (weights,) = (p for p in node.files(THEIRS) if p.stat().st_size >= len(WEIGHTS))
    os.chmod(weights, 0o600)
    with weights.open("r+b") as file:
        file.write(bytes(100))
    assert WEIGHTS in [node.get(url)[1] for url in addresses(node.manifest("ours"))]
