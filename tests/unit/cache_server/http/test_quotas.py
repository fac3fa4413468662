"""A tenant that meets a quota: what its callers are told, and what its replicas still get."""

import pytest

from cache_protocol.manifest import PASS_THROUGH
from cache_server.core.tenants import Quotas, Tenant, unlisted
from tests.fakes.control_plane import control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, chunks, running_service

BODY = {"models": [{"name": "m", "source": SOURCE}]}


@pytest.fixture
def quotas():
    return {}


@pytest.fixture
def api(tmp_path, quotas):
    def of(name: str) -> Tenant:
        return Tenant(name, unlisted(name).origins, quotas=quotas.get(name, Quotas()))

    origins = MemoryOrigins({SOURCE: MemoryOrigin({"config.json": b"{}", "w.dat": chunks(0.2)})})
    with (
        running_service(
            tmp_path / "root", origins, quotas=lambda name: quotas.get(name, Quotas())
        ) as bench,
        control_plane(bench.service, tenants=of) as plane,
    ):
        bench.reconciled()
        plane.bench = bench
        yield plane


def test_a_pipeline_above_the_quota_is_429_with_its_numbers(api, quotas):
    quotas["default"] = Quotas(pipelines=1)
    assert api.ask("PUT", "/v1/pipelines/one", BODY).status == 201
    answer = api.ask("PUT", "/v1/pipelines/two", BODY)
    assert (answer.status, answer.json["code"]) == (429, "quota")
    assert answer.json["numbers"] == {"limit": 1, "used": 1}
    assert answer.headers["retry-after"].isdecimal()
    assert api.ask("PUT", "/v1/pipelines/one", BODY).status == 200


def test_warming_above_the_quota_of_bytes_is_429(api, quotas):
    quotas["default"] = Quotas(bytes=1000)
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    api.bench.resolved()
    answer = api.ask("POST", "/v1/pipelines/voice/warm")
    assert (answer.status, answer.json["code"]) == (429, "quota")
    assert {"needed", "used", "limit", "hot", "pinned"} <= answer.json["numbers"].keys()


def test_replicas_of_what_the_quota_leaves_no_room_for_are_served_from_the_origin(api, quotas):
    quotas["default"] = Quotas(bytes=1000)
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    answer = api.ask("GET", "/v1/pipelines/voice/manifest")
    assert answer.status == 200
    assert answer.json["source"] == PASS_THROUGH
    assert answer.json["reason"].startswith("quota: ")


def test_a_replica_whose_tenant_may_not_fill_is_told_so(api, quotas):
    quotas["default"] = Quotas(fills=0)
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    answer = api.ask("GET", "/v1/pipelines/voice/manifest")
    assert (answer.status, answer.json["code"]) == (429, "quota")
