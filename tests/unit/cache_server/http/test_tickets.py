"""Fresh tickets through a lease, and fresh keys, over a real socket."""

from urllib.parse import urlsplit

import pytest

from cache_protocol.errors import TicketError
from cache_protocol.manifest import Manifest, parse_manifest
from cache_protocol.tickets import Keys, Ticket, check
from cache_server.store.ticket_keys import TicketKeys
from tests.fakes.control_plane import control_plane
from tests.fakes.service import SOURCE, chunks

BODY = {"models": [{"name": "m", "source": SOURCE}]}
NOW = 0


@pytest.fixture
def tickets(tmp_path):
    return TicketKeys(tmp_path)


@pytest.fixture
def api(bench, tickets):
    with control_plane(bench.service, tickets=tickets) as plane:
        plane.ask("PUT", "/v1/pipelines/voice", BODY)
        yield plane


def manifest(api) -> Manifest:
    return parse_manifest(api.ask("GET", "/v1/pipelines/voice/manifest").body)


def again(api, of: Manifest):
    return api.ask("GET", f"/v1/leases/{of.lease.id}/manifest")


def granted(of: Manifest, keys: Keys) -> list[Ticket]:
    """Check every URL of a manifest."""
    urls = (urlsplit(u) for _, f in of.files() for u in (*f.urls, f.digests, f.verdict))
    return [check(keys, url.path, url.query, NOW) for url in urls]


def test_every_url_is_for_the_tenant_whose_pipeline_it_is(api, tickets):
    assert {ticket.tenant for ticket in granted(manifest(api), tickets())} == {"default"}
    theirs = {"Warmline-Tenant": "other"}
    api.ask("PUT", "/v1/pipelines/voice", BODY, headers=theirs)
    answer = api.ask("GET", "/v1/pipelines/voice/manifest", headers=theirs)
    assert {t.tenant for t in granted(parse_manifest(answer.body), tickets())} == {"other"}


def test_a_lease_brings_fresh_tickets_and_is_renewed_by_it(api, bench):
    first = manifest(api)
    bench.settle()
    bench.clock.advance(100)
    second = parse_manifest(again(api, first).body)
    assert (second.lease.id, second.generation) == (first.lease.id, first.generation)
    assert second.lease.expires > first.lease.expires
    assert bench.service.leases.count == 1


def test_the_tickets_of_a_lease_are_for_what_it_holds_also_when_that_was_replaced(
    api, bench, origin
):
    first = manifest(api)
    bench.settle()
    origin.files["w.dat"] = chunks(0.3, seed=9)
    assert bench.warm(refresh=True) is None
    assert manifest(api).generation != first.generation
    assert parse_manifest(again(api, first).body).generation == first.generation


def test_a_lease_that_ended_brings_none(api):
    first = manifest(api)
    api.ask("DELETE", f"/v1/leases/{first.lease.id}")
    assert (again(api, first).status, again(api, first).json["code"]) == (410, "generation-gone")


def test_a_lease_brings_nothing_to_another_tenant(api, bench):
    first = manifest(api)
    other = api.ask(
        "GET", f"/v1/leases/{first.lease.id}/manifest", headers={"Warmline-Tenant": "other"}
    )
    assert other.status == 410
    assert bench.service.leases.count == 1


def test_a_rotation_leaves_urls_that_were_given_out_good(api, tickets):
    before = manifest(api)
    answer = api.ask("POST", "/v1/tickets/rotate").json
    assert len(answer["accepted"]) == 2
    assert granted(before, tickets())
    assert f"key={answer['key']}" in next(manifest(api).files())[1].urls[0]


def test_with_revoke_urls_that_were_given_out_open_nothing(api, tickets):
    before = manifest(api)
    answer = api.ask("POST", "/v1/tickets/rotate", {"revoke": True}).json
    assert answer["accepted"] == [answer["key"]]
    with pytest.raises(TicketError, match="given up"):
        granted(before, tickets())
    assert granted(parse_manifest(again(api, before).body), tickets())


def test_a_rotation_tells_no_secret(api, tickets):
    answer = api.ask("POST", "/v1/tickets/rotate")
    for key in tickets().keys:
        assert key.secret.hex().encode() not in answer.body
