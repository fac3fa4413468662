"""Who acts for all tenants at once sees them in lists; what is about one thing names its tenant."""

import pytest

from tests.fakes.boot_reports import boot_report
from tests.fakes.control_plane import ControlPlane, control_plane
from tests.fakes.service import SOURCE

BODY = {"models": [{"name": "m", "source": SOURCE}]}
BOOT = boot_report()
ALL = {"Warmline-Tenant": "*"}
A, B = {"Warmline-Tenant": "a"}, {"Warmline-Tenant": "b"}


@pytest.fixture
def plane(bench):
    with control_plane(bench.service) as plane:
        for tenant in (A, B):
            assert plane.ask("PUT", "/v1/pipelines/voice", BODY, headers=tenant).status == 201
        yield plane


@pytest.fixture
def watcher(plane):
    """Return the text of a viewer's token of all tenants."""
    return made(plane, "viewer").json["token"]


def made(plane: ControlPlane, role: str, **fields):
    return plane.ask("POST", "/v1/tokens", {"role": role, **fields}, headers=ALL)


def listed(plane: ControlPlane, **options) -> list[tuple[str, str]]:
    views = plane.ask("GET", "/v1/pipelines", **options).json["pipelines"]
    return [(view["tenant"], view["id"]) for view in views]


def test_a_viewer_of_all_tenants_lists_the_pipelines_of_each(plane, watcher):
    assert listed(plane, token=watcher) == [("a", "voice"), ("b", "voice")]


def test_it_looks_at_one_tenant_with_the_header(plane, watcher):
    assert listed(plane, token=watcher, headers=A) == [("a", "voice")]
    path = "/v1/pipelines/voice"
    assert plane.ask("GET", path, token=watcher, headers=B).json["tenant"] == "b"


def test_it_reads_the_node_s_figures(plane, watcher):
    assert plane.ask("GET", "/v1/status", token=watcher).status == 200


def test_it_changes_nothing_and_reads_no_weights(plane, watcher):
    path = "/v1/pipelines/voice"
    for call in (("PUT", path, BODY), ("POST", f"{path}/warm"), ("GET", f"{path}/manifest")):
        assert plane.ask(*call, token=watcher, headers=A).json["code"] == "forbidden"


def test_one_pipeline_of_all_tenants_is_a_question_back(plane, watcher):
    for token in ({"token": watcher}, {"headers": ALL}):
        answer = plane.ask("GET", "/v1/pipelines/voice", **token)
        assert (answer.status, answer.json["code"]) == (422, "malformed")
        assert "Warmline-Tenant: NAME" in answer.json["detail"]


def test_an_admin_lists_all_tenants_with_the_header(plane):
    assert listed(plane) == []
    assert listed(plane, headers=ALL) == [("a", "voice"), ("b", "voice")]


def test_an_admin_registers_nothing_for_all_tenants(plane):
    assert plane.ask("PUT", "/v1/pipelines/new", BODY, headers=ALL).status == 422


@pytest.mark.parametrize("role", ["deployer", "replica", "viewer"])
def test_a_token_of_one_tenant_does_not_act_for_all(plane, role):
    body = {"role": role}
    text = plane.ask("POST", "/v1/tokens", body, headers=A).json["token"]
    answer = plane.ask("GET", "/v1/pipelines", token=text, headers=ALL)
    assert (answer.status, answer.json["code"]) == (403, "forbidden")


@pytest.mark.parametrize("role", ["admin", "deployer", "replica"])
def test_of_all_tenants_only_a_viewer_s_token_is_made(plane, role):
    answer = made(plane, role)
    assert answer.status == 422
    assert "its role is viewer" in answer.json["detail"]


def test_reports_of_boots_of_all_tenants_say_whose_they_are(plane, watcher):
    for tenant in (A, B):
        assert plane.ask("POST", "/v1/boots", BOOT, headers=tenant).status == 201
    for query in ("", "?pipeline=voice"):
        boots = plane.ask("GET", f"/v1/boots{query}", token=watcher).json["boots"]
        assert [boot["tenant"] for boot in boots] == ["b", "a"]
    assert plane.ask("GET", "/v1/boots?pipeline=other", token=watcher).json == {"boots": []}


def test_a_viewer_of_all_tenants_may_be_narrowed_to_a_name(plane, watcher):
    narrow = made(plane, "viewer", pipelines=["other"]).json["token"]
    assert listed(plane, token=narrow) == []
    assert listed(plane, token=watcher) != []
