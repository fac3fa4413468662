"""A replica of another tenant, on the node's own host, asks for files that are not its own."""

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cache_protocol.local import host_name
from cache_server.catalogue.registry import Key
from cache_server.local.plane import FOR_ALL, LocalPlane
from cache_server.local.register import Register
from cache_server.local.rights import Rights
from cache_server.store.ticket_keys import TicketKeys
from tests.fakes.control_plane import ControlPlane, control_plane
from tests.fakes.local_peer import Peer
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, Bench, chunks, running_service

WEIGHTS = chunks(1.5)
OURS, THEIRS = Key("ours", "voice"), Key("theirs", "voice")


@dataclass
class Host:
    bench: Bench
    control: ControlPlane
    plane: LocalPlane

    def manifest(self, tenant: str) -> dict:
        body, headers = {"role": "replica"}, {"Warmline-Tenant": tenant}
        token = self.control.ask("POST", "/v1/tokens", body, headers=headers).json["token"]
        return self.control.ask("GET", "/v1/pipelines/voice/manifest", token=token).json

    def ask(self, target: str, lease: str) -> tuple[dict, bytes | None]:
        """Return what a peer is told, and the bytes that it could read."""
        with Peer(Path(self.plane.offer.socket)) as peer:
            peer.hear()
            said = peer.ask(target, lease)
            return said, os.pread(peer.fds[0], 2**30, 0) if peer.fds else None


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host whose node has the same source for two tenants."""
    origin = MemoryOrigin({"w.dat": WEIGHTS})
    with running_service(tmp_path / "root", MemoryOrigins({SOURCE: origin})) as bench:
        for key in (OURS, THEIRS):
            bench.put(key=key)
            assert bench.warm(key) is None
        keys, service = TicketKeys(bench.root.path), bench.service

        def held(lease: str) -> str | None:
            found = service.held(lease)
            return None if found is None else found.id

        rights = Rights(service.library, keys, held, lambda: 0.0)
        plane = LocalPlane(tmp_path / "socket", FOR_ALL, rights, Register())
        with (
            closing(plane),
            control_plane(service, tickets=keys, local=plane.offer) as control,
        ):
            plane.start()
            yield Host(bench, control, plane)


def file_of(manifest: dict) -> str:
    where = urlsplit(manifest["models"]["m"]["files"][0]["urls"][0])
    return f"{where.path}?{where.query}"


def test_each_is_lent_its_own(host: Host) -> None:
    for tenant in ("ours", "theirs"):
        manifest = host.manifest(tenant)
        assert manifest["local"]["host"] == host_name(
            Path("/proc/sys/kernel/random/boot_id").read_text()
        )
        said, content = host.ask(file_of(manifest), manifest["lease"]["id"])
        assert (said, content) == ({"size": len(WEIGHTS)}, WEIGHTS)


def test_a_lease_of_one_tenant_and_a_ticket_of_another_give_nothing(host: Host) -> None:
    ours, theirs = host.manifest("ours"), host.manifest("theirs")
    for manifest, lease in ((ours, theirs), (theirs, ours)):
        said, content = host.ask(file_of(manifest), lease["lease"]["id"])
        assert (said["code"], content) == ("generation-gone", None)


def test_a_ticket_that_names_another_tenant_or_generation_gives_nothing(host: Host) -> None:
    ours, theirs = host.manifest("ours"), host.manifest("theirs")
    lease = ours["lease"]["id"]
    renamed = file_of(ours).replace("tenant=ours", "tenant=theirs")
    moved = file_of(ours).replace(ours["generation"], theirs["generation"])
    for target in (renamed, moved):
        said, content = host.ask(target, lease)
        assert (said["code"], content) == ("ticket", None)


def test_after_an_eviction_a_lease_gives_nothing(host: Host) -> None:
    manifest = host.manifest("ours")
    host.bench.service.removal.evict(OURS, force=True)
    said, content = host.ask(file_of(manifest), manifest["lease"]["id"])
    assert (said["code"], content) == ("generation-gone", None)


def test_what_was_lent_to_a_tenant_takes_no_room_when_it_is_evicted(host: Host) -> None:
    manifest = host.manifest("ours")
    with Peer(Path(host.plane.offer.socket)) as peer:
        peer.hear()
        peer.ask(file_of(manifest), manifest["lease"]["id"])
        kept = os.dup(peer.fds[0])
        host.bench.service.removal.evict(OURS, force=True)
        host.plane.look()
        assert peer.hear() is None
    try:  # also for one that hung up and kept a copy
        assert os.fstat(kept).st_blocks == 0
    finally:
        os.close(kept)
