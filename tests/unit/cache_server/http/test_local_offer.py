"""What a manifest says to replicas on the node's own host."""

from cache_protocol.local import Offer
from cache_protocol.manifest import parse_manifest
from tests.fakes.control_plane import control_plane
from tests.fakes.service import chunks

OFFER = Offer("/run/warmline/local.sock", "0" * 32)


def test_a_manifest_offers_the_nodes_socket_and_so_does_that_of_a_lease(bench):
    bench.put()
    with control_plane(bench.service, local=OFFER) as api:
        manifest = parse_manifest(api.ask("GET", "/v1/pipelines/voice/manifest").body)
        again = api.ask("GET", f"/v1/leases/{manifest.lease.id}/manifest")
    assert manifest.local == parse_manifest(again.body).local == OFFER


def test_a_node_without_a_socket_offers_none(bench):
    bench.put()
    with control_plane(bench.service) as api:
        manifest = api.ask("GET", "/v1/pipelines/voice/manifest")
    assert "local" not in manifest.json
    assert parse_manifest(manifest.body).local is None


def test_what_passes_through_is_on_nobodys_disk_and_is_not_offered(bench, origin):
    origin.files["w.dat"] = chunks(13)
    bench.put()
    bench.resolved()
    with control_plane(bench.service, local=OFFER) as api:
        manifest = parse_manifest(api.ask("GET", "/v1/pipelines/voice/manifest").body)
    assert (manifest.source, manifest.local) == ("pass-through", None)
