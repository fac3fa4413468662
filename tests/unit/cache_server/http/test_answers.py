"""What really is answered has the fields that the description names, and no others."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from cache_protocol.manifest import parse_manifest
from cache_protocol.plans import checkpoint_digest, dump_plan
from tests.fakes.boot_reports import boot_report
from tests.fakes.control_plane import ControlPlane, control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.plans import plan
from tests.fakes.service import SOURCE, chunks, running_service

VOICE = "/v1/pipelines/voice"
BODY = {
    "models": [{"name": "m", "source": SOURCE, "include": ["*"], "exclude": ["none"]}],
    "pinned": True,
}
BOOT = boot_report(phases={"pull": (0, 1)}, reason="why", notes=["a"])


@pytest.fixture
def bench(tmp_path):
    files = {"config.json": b"{}", "w.dat": chunks(1.5), "w.bin": b"0", "model.py": b"1"}
    origins = MemoryOrigins({SOURCE: MemoryOrigin(files)})
    with running_service(tmp_path / "root", origins, capacity=50 * 2**20) as bench:
        bench.reconciled()
        yield bench


@pytest.fixture
def plane(bench):
    with control_plane(bench.service) as plane:
        assert plane.ask("PUT", VOICE, BODY).status == 201
        assert bench.warm() is None
        yield plane


class Described:
    """Answers held against the description, as if it were closed: no field more, none missing."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        document = plane.ask("GET", "/openapi.json").json
        for shape in document["components"]["schemas"].values():
            if "properties" in shape:
                shape["additionalProperties"] = False
        self.document = document

    def ask(self, method: str, path: str, body: Any = None, *, route: str | None = None) -> Any:
        """Ask; fail where the answer is not what the description says."""
        answer = self.plane.ask(method, path, body)
        said = self.document["paths"][route or path.partition("?")[0]][method.lower()]
        content = said["responses"][str(answer.status)]["content"][
            answer.headers["content-type"].partition(";")[0]
        ]
        whole = {**content["schema"], "components": self.document["components"]}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(answer.json)
        return answer.json


def test_of_a_pipeline_every_field_is_described(plane):
    api, route = Described(plane), "/v1/pipelines/{pipeline}"
    shown = api.ask("GET", VOICE, route=route)
    assert {each["path"] for each in shown["models"][0]["left_out"]} == {"w.bin", "model.py"}
    assert shown["cache"]["warm"]
    api.ask("GET", "/v1/pipelines")
    api.ask("POST", f"{VOICE}/warm", {"refresh": True}, route=f"{route}/warm")
    api.ask("PUT", f"{VOICE}/pin", route=f"{route}/pin")
    api.ask("POST", f"{VOICE}/evict", {"force": True}, route=f"{route}/evict")


def test_of_what_not_everybody_may_read_every_field_is_described(plane, bench):
    bench.slot().current.restricted = True
    shown = Described(plane).ask("GET", VOICE, route="/v1/pipelines/{pipeline}")
    assert shown["cache"]["access"]["denied"] is None


def test_of_what_a_replica_is_given_every_field_is_described(plane):
    api = Described(plane)
    manifest = api.ask("GET", f"{VOICE}/manifest", route="/v1/pipelines/{pipeline}/manifest")
    lease = f"/v1/leases/{manifest['lease']['id']}"
    api.ask("PUT", lease, route="/v1/leases/{lease}")
    api.ask("GET", f"{lease}/manifest", route="/v1/leases/{lease}/manifest")


def test_of_plans_every_field_is_described(plane):
    api = Described(plane)
    manifest = parse_manifest(plane.ask("GET", f"{VOICE}/manifest").body)
    checkpoint = checkpoint_digest(manifest.models["m"], manifest.generation)
    left = plan(files={"w.dat": len(chunks(1.5))}, checkpoint=checkpoint)
    path = f"{VOICE}/plans/m/{left.key.digest}"
    assert plane.ask("PUT", path, dump_plan(left)).status == 204
    route = "/v1/pipelines/{pipeline}/plans/{model}"
    (shown,) = api.ask("GET", f"{VOICE}/plans/m", route=route)["plans"]
    assert (shown["digest"], shown["fingerprint"]) == (left.key.digest, left.fingerprint)
    assert plane.ask("GET", path).body == dump_plan(left)
    refused = api.ask("PUT", f"{VOICE}/plans/m/{'0' * 32}", b"{}", route=f"{route}/{{digest}}")
    assert refused["code"] == "malformed"


def test_of_boots_every_field_is_described(plane):
    api = Described(plane)
    for _ in range(60):
        api.ask("POST", "/v1/boots", BOOT)
    for _ in range(10):  # enough of them, and slow enough, for a regression
        api.ask("POST", "/v1/boots", BOOT | {"time_to_ready": 9})
    api.ask("GET", "/v1/boots")
    stats = api.ask("GET", "/v1/boots/stats")["stats"]
    assert stats[0]["regression"]


def test_of_the_node_every_field_is_described(plane):
    api = Described(plane)
    for path in ("/v1/status", "/v1/eviction-plan?need=1", "/v1/tokens", "/healthz", "/readyz"):
        api.ask("GET", path)
    api.ask("GET", f"/v1/eviction-plan?need={2**40}")
    api.ask("POST", "/v1/scrub", {})
    api.ask("POST", "/v1/tokens", {"role": "viewer", "lifetime": "P1D"})
    api.ask("POST", "/v1/tickets/rotate", {})


@pytest.mark.parametrize(
    ("call", "route", "body"),
    [
        ("GET /v1/pipelines/nobody", "/v1/pipelines/{pipeline}", None),
        ("PUT /v1/pipelines/x", "/v1/pipelines/{pipeline}", {"models": [{"nam": "m"}]}),
        ("PUT /v1/leases/nobodys", "/v1/leases/{lease}", None),
        ("GET /v1/eviction-plan?need=-1", "/v1/eviction-plan", None),
        ("DELETE /v1/tokens/nobodys", "/v1/tokens/{token}", None),
    ],
)
def test_of_a_refusal_every_field_is_described(plane, call, route, body):
    method, _, path = call.partition(" ")
    assert "code" in Described(plane).ask(method, path, body, route=route)
