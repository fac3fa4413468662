"""Which sources a role may register for its tenant, over the API."""

import pytest

from cache_server.core.tenants import Tenant, Tenants, parse_place
from tests.fakes.control_plane import ControlPlane, control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, running_service

OTHER = "file:///n"


def body(source: str = SOURCE, **more: object) -> dict:
    return {"models": [{"name": "m", "source": source}], **more}


def token(plane: ControlPlane, tenant: str = "default", role: str = "deployer") -> str:
    answer = plane.ask("POST", "/v1/tokens", {"role": role}, headers={"Warmline-Tenant": tenant})
    return answer.json["token"]


@pytest.fixture
def origins():
    return MemoryOrigins({s: MemoryOrigin({"w.dat": b"w"}) for s in (SOURCE, OTHER)})


def test_a_deployer_registers_what_is_listed_for_its_tenant(bench):
    team = Tenant("team-a", (parse_place(SOURCE),))
    with control_plane(bench.service, tenants=Tenants({"team-a": team}).of) as plane:
        text = token(plane, "team-a")
        assert plane.ask("PUT", "/v1/pipelines/voice", body(), token=text).status == 201


def test_a_deployer_cannot_register_what_is_not_listed(api):
    answer = api.ask("PUT", "/v1/pipelines/voice", body(), token=token(api))
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert "CACHE_SERVER_TENANTS" in answer.json["detail"]
    assert api.ask("GET", "/v1/pipelines/voice").status == 404


def test_a_deployer_may_say_again_what_an_admin_registered(api):
    text = token(api)
    assert api.ask("PUT", "/v1/pipelines/voice", body()).status == 201
    answer = api.ask("PUT", "/v1/pipelines/voice", body(pinned=True), token=text)
    assert answer.status == 200
    assert answer.json["cache"]["pinned"]


def test_a_deployer_cannot_change_what_an_admin_registered_to_what_is_not_listed(api):
    api.ask("PUT", "/v1/pipelines/voice", body())
    changed = body(exclude=["*.md"])
    changed["models"][0]["exclude"] = changed.pop("exclude")
    assert api.ask("PUT", "/v1/pipelines/voice", changed, token=token(api)).status == 403


def test_a_directory_of_the_node_is_refused_to_an_admin_too(api, bench):
    answer = api.ask("PUT", "/v1/pipelines/voice", body(f"file://{bench.root.path}/slots"))
    assert (answer.status, answer.json["code"]) == (422, "malformed")


def test_that_an_admin_registered_a_pipeline_outlives_the_node(tmp_path, origins, quick_retries):
    with (
        running_service(tmp_path / "root", origins) as bench,
        control_plane(bench.service) as plane,
    ):
        plane.ask("PUT", "/v1/pipelines/voice", body())
    with (
        running_service(tmp_path / "root", origins) as bench,
        control_plane(bench.service) as plane,
    ):
        bench.reconciled()
        again = plane.ask("PUT", "/v1/pipelines/voice", body(), token=token(plane))
        assert again.status == 200
        assert bench.warm() is None
    assert {terms.vouched for terms in origins.terms} == {True}


def test_what_a_deployer_changed_is_not_vouched_for_any_more(tmp_path, origins, quick_retries):
    team = Tenants({"default": Tenant("default", (parse_place(OTHER),))})
    with (
        running_service(tmp_path / "root", origins) as bench,
        control_plane(bench.service, tenants=team.of) as plane,
    ):
        plane.ask("PUT", "/v1/pipelines/voice", body())
        bench.resolved()
        changed = plane.ask("PUT", "/v1/pipelines/voice", body(OTHER), token=token(plane))
        assert changed.status == 200
        bench.resolved()
        assert not bench.slot().registration.vouched
    assert origins.terms[0].vouched
    assert not origins.terms[-1].vouched
