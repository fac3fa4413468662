"""Who may call what: every role, every call of the API, own and foreign pipelines.

The table below is complete over the application's own description of itself: a route that is not
in it fails a test, and one without a rule does not even get into an application.
"""

import pytest
from fastapi import FastAPI

from cache_server.catalogue.tokens import Tokens
from cache_server.core.access import Role
from cache_server.http.access import check_rules
from tests.fakes.boot_reports import boot_report
from tests.fakes.control_plane import TOKEN, ControlPlane, control_plane
from tests.fakes.service import SOURCE

BODY = {"models": [{"name": "m", "source": SOURCE}]}
BOOT = boot_report()
LOOK = {"admin", "deployer", "viewer"}
CHANGE = {"admin", "deployer"}
READ = {"admin", "replica"}
ADMIN = {"admin"}
# call -> who may make it, what is sent, what an answer to them may be
CALLS = {
    "GET /v1/pipelines": (LOOK, None, {200}),
    "PUT /v1/pipelines/{pipeline}": (CHANGE, BODY, {200, 201}),
    "GET /v1/pipelines/{pipeline}": (LOOK | {"replica"}, None, {200}),
    "DELETE /v1/pipelines/{pipeline}": (CHANGE, None, {200, 409}),
    "POST /v1/pipelines/{pipeline}/warm": (CHANGE, {}, {202}),
    "POST /v1/pipelines/{pipeline}/touch": (CHANGE, None, {204}),
    "POST /v1/pipelines/{pipeline}/evict": (CHANGE, {}, {200, 409}),
    "PUT /v1/pipelines/{pipeline}/pin": (CHANGE, None, {200}),
    "DELETE /v1/pipelines/{pipeline}/pin": (CHANGE, None, {200}),
    "GET /v1/pipelines/{pipeline}/manifest": (READ, None, {200}),
    "GET /v1/pipelines/{pipeline}/plans/{model}": (READ, None, {200, 404}),
    "GET /v1/pipelines/{pipeline}/plans/{model}/{digest}": (READ, None, {404}),
    "PUT /v1/pipelines/{pipeline}/plans/{model}/{digest}": (READ, {}, {404, 409}),
    "PUT /v1/leases/{lease}": (READ, None, {410}),
    "DELETE /v1/leases/{lease}": (READ, None, {204}),
    "GET /v1/leases/{lease}/manifest": (READ, None, {410}),
    "GET /v1/status": (LOOK, None, {200}),
    "POST /v1/scrub": (ADMIN, {}, {202}),
    "GET /v1/eviction-plan": (ADMIN, None, {200}),
    "GET /metrics": (ADMIN | {"viewer of all"}, None, {200}),
    "POST /v1/boots": (READ, BOOT, {201}),
    "GET /v1/boots": (LOOK, None, {200}),
    "GET /v1/boots/stats": (LOOK, None, {200}),
    "POST /v1/tokens": (ADMIN, {"role": "viewer"}, {201}),
    "POST /v1/tickets/rotate": (ADMIN, {}, {200}),
    "GET /v1/tokens": (ADMIN, None, {200}),
    "DELETE /v1/tokens/{token}": (ADMIN, None, {404}),
}
OF_ONE = sorted(call for call in CALLS if "{pipeline}" in call)
PROBES = {"GET /healthz", "GET /readyz"}


@pytest.fixture
def plane(bench):
    with control_plane(bench.service) as plane:
        yield plane


def token(plane: ControlPlane, role: str, tenant: str = "default", only: str | None = None) -> str:
    body = {"role": role} | ({"pipelines": [only]} if only else {})
    answer = plane.ask("POST", "/v1/tokens", body, headers={"Warmline-Tenant": tenant})
    assert answer.status == 201
    return answer.json["token"]


def put(plane: ControlPlane, name: str, tenant: str = "default") -> None:
    path = f"/v1/pipelines/{name}"
    assert plane.ask("PUT", path, BODY, headers={"Warmline-Tenant": tenant}).status == 201


def made(plane: ControlPlane, call: str, name: str, text: str, body=None, headers=None):
    method, _, path = call.partition(" ")
    path = path.replace("{pipeline}", name).replace("{lease}", "x").replace("{token}", "x")
    path = path.replace("{model}", "m").replace("{digest}", "x")
    query = "?need=1" if "eviction-plan" in path else ""
    body = CALLS[call][1] if body is None else body
    return plane.ask(method, path + query, body, token=text, headers=headers)


def test_a_viewer_of_all_tenants_makes_a_viewer_s_calls_and_no_others(plane):
    text, default = token(plane, "viewer", tenant="*"), {"Warmline-Tenant": "default"}
    for number, (call, (may, _, statuses)) in enumerate(sorted(CALLS.items())):
        name = f"own-{number}"
        put(plane, name)
        answer = made(plane, call, name, text, headers=default)
        if may & {"viewer", "viewer of all"}:
            assert answer.status in statuses, call
        else:
            assert (answer.status, answer.json["code"]) == (403, "forbidden"), call


def test_the_table_has_every_call_of_the_api(plane):
    paths = plane.ask("GET", "/openapi.json").json["paths"]
    calls = {f"{method.upper()} {path}" for path, of in paths.items() for method in of}
    assert calls == set(CALLS) | PROBES


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_make_its_calls_and_no_others(plane, role):
    for number, (call, (may, _, statuses)) in enumerate(sorted(CALLS.items())):
        name = f"own-{number}"
        put(plane, name)
        answer = made(plane, call, name, token(plane, role))
        if role in may:
            assert answer.status in statuses, call
        else:
            assert (answer.status, answer.json["code"]) == (403, "forbidden"), call


@pytest.mark.parametrize("role", ["deployer", "replica", "viewer"])
def test_a_foreign_pipeline_looks_exactly_like_one_that_does_not_exist(plane, role):
    put(plane, "theirs", tenant="other")
    text = token(plane, role)
    for call in OF_ONE:
        if role in CALLS[call][0] and call != "PUT /v1/pipelines/{pipeline}":
            foreign, absent = (made(plane, call, n, text) for n in ("theirs", "absent"))
            assert foreign.status == absent.status == 404, call
            assert foreign.body.replace(b"theirs", b"absent") == absent.body


@pytest.mark.parametrize("role", ["deployer", "replica", "viewer"])
def test_for_a_token_of_one_pipeline_there_is_no_other(plane, role):
    put(plane, "mine")
    put(plane, "beside")
    text = token(plane, role, only="mine")
    for call in OF_ONE:
        if role in CALLS[call][0]:
            assert made(plane, call, "beside", text).json["code"] == "unknown-pipeline", call
    if role in LOOK:
        listed = plane.ask("GET", "/v1/pipelines", token=text).json["pipelines"]
        assert [each["id"] for each in listed] == ["mine"]


def test_a_pipeline_of_the_same_name_in_another_tenant_is_another_pipeline(plane):
    put(plane, "voice")
    text = token(plane, "deployer", tenant="other")
    assert plane.ask("GET", "/v1/pipelines", token=text).json["pipelines"] == []
    put(plane, "voice", tenant="other")
    assert plane.ask("DELETE", "/v1/pipelines/voice", token=text).status == 200
    assert plane.ask("GET", "/v1/pipelines/voice").status == 200


@pytest.mark.parametrize("role", ["deployer", "replica", "viewer"])
def test_only_an_admin_acts_for_another_tenant(plane, role):
    text, other = token(plane, role), {"Warmline-Tenant": "other"}
    path = "/v1/pipelines/x/manifest" if role == "replica" else "/v1/pipelines"
    assert plane.ask("GET", path, token=text, headers=other).json["code"] == "forbidden"
    assert plane.ask("GET", "/v1/pipelines", headers=other).status == 200


def test_a_lease_is_not_for_another_tenant_to_renew_or_to_end(plane, bench):
    put(plane, "voice")
    ours, theirs = token(plane, "replica"), token(plane, "replica", tenant="other")
    manifest = plane.ask("GET", "/v1/pipelines/voice/manifest", token=ours).json
    lease = f"/v1/leases/{manifest['lease']['id']}"
    assert plane.ask("PUT", lease, token=theirs).status == 410
    assert plane.ask("DELETE", lease, token=theirs).status == 204
    assert plane.ask("PUT", lease, token=ours).status == 200
    bench.settle()


def test_reports_of_boots_stay_in_their_tenant(plane):
    assert plane.ask("POST", "/v1/boots", BOOT, token=token(plane, "replica")).status == 201
    elsewhere = token(plane, "viewer", tenant="other")
    assert plane.ask("GET", "/v1/boots", token=elsewhere).json == {"boots": []}
    assert len(plane.ask("GET", "/v1/boots").json["boots"]) == 1
    narrow = token(plane, "replica", only="other")
    assert plane.ask("POST", "/v1/boots", BOOT, token=narrow).status == 404


def test_a_deployer_scrubs_its_own_pipeline_and_not_the_node(plane):
    put(plane, "voice")
    text = token(plane, "deployer")
    assert plane.ask("POST", "/v1/scrub", {"pipeline": "voice"}, token=text).status == 202
    assert plane.ask("POST", "/v1/scrub", token=text).status == 403


def test_after_too_many_wrong_tokens_a_guesser_waits_and_a_valid_token_does_not(plane):
    answers = [plane.ask("GET", "/v1/status", token=f"wl_0_{n}") for n in range(25)]
    assert [a.status for a in answers] == [401] * 20 + [429] * 5
    assert answers[-1].headers["retry-after"]
    assert plane.ask("GET", "/v1/status", token=TOKEN).status == 200
    assert plane.ask("GET", "/v1/status", token=None).status == 401  # not a guess


def test_the_address_of_a_guesser_is_in_the_log(plane, caplog):
    for n in range(25):
        plane.ask("GET", "/v1/status", token=f"wl_0_{n}")
    told = [r.getMessage() for r in caplog.records if "too many wrong tokens" in r.getMessage()]
    assert len(told) == 1
    assert "from 127.0.0.1 within a minute" in told[0]


def test_a_route_without_a_rule_does_not_get_into_an_application():
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/open")
    def open_to_whom() -> dict[str, str]:
        return {}

    with pytest.raises(RuntimeError, match="/open says nothing of who may call it"):
        check_rules(app.routes, open_to_all=())


def test_of_a_token_nothing_that_opens_anything_is_written_down(plane, bench, tmp_path):
    text = token(plane, "viewer")
    written = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    assert text.encode() not in written
    assert text.split("_", 2)[2].encode() not in written
    assert [t.identity.role for t in Tokens(bench.service._registry).all()] == [Role.VIEWER]
