import threading

import pytest

from cache_server.core.access import ALL_TENANTS, Identity, Role
from cache_server.http.access import Caller
from cache_server.http.scrubbing import shown_to
from tests.fakes.service import SOURCE

LAST = {"pipeline": "red/asr", "checked": 9, "wrong": 1, "unrepaired": 0, "ended": "2030-01-01"}
VIEW = {
    "running": True,
    "pipeline": "blue/secret",
    "checked": 5,
    "wrong": 2,
    "unrepaired": 1,
    "waiting": ["red/tts", None, "voice"],
    "last": LAST,
}


def caller(tenant: str, role: Role = Role.VIEWER, only: frozenset[str] | None = None) -> Caller:
    return Caller(Identity("x", tenant, role, only), tenant)


def test_a_pass_over_another_tenants_pipeline_is_not_there():
    shown = shown_to(caller("red"), VIEW)
    assert (shown["pipeline"], shown["checked"], shown["wrong"]) == ("red/tts", 0, 0)
    assert shown["waiting"] == [None]
    assert shown["last"] == LAST


def test_nor_is_the_last_one():
    assert "last" not in shown_to(caller("blue"), VIEW)


def test_where_only_others_have_passes_nothing_runs():
    alone = VIEW | {"waiting": ["red/tts"]}
    assert shown_to(caller("green"), alone) == {"running": False}


def test_of_ones_own_pass_everything_is_shown():
    shown = shown_to(caller("blue"), VIEW)
    assert (shown["pipeline"], shown["checked"], shown["wrong"]) == ("blue/secret", 5, 2)


def test_a_token_of_one_pipeline_sees_no_pass_over_another_one():
    shown = shown_to(caller("red", only=frozenset({"asr"})), VIEW)
    assert shown["pipeline"] is None
    assert shown["last"] == LAST


@pytest.mark.parametrize(
    "who", [caller("red", Role.ADMIN), caller(ALL_TENANTS), caller("default", Role.ADMIN)]
)
def test_who_looks_after_all_tenants_sees_all_passes(who):
    assert shown_to(who, VIEW) == VIEW


def test_while_nothing_runs_nothing_is_shown_of_it():
    assert shown_to(caller("blue"), {"running": False}) == {"running": False}


@pytest.fixture
def held(bench, monkeypatch):
    """Hold the walk over the disk in its first step."""
    gate = threading.Event()
    monkeypatch.setattr(bench.service._scrub, "_targets", lambda: gate.wait(30) and [])
    yield
    gate.set()


@pytest.mark.usefixtures("held")
def test_the_figures_of_the_node_name_no_pipeline_of_another_tenant(api):
    body, blue = {"models": [{"name": "m", "source": SOURCE}]}, {"Warmline-Tenant": "blue"}
    api.ask("PUT", "/v1/pipelines/secret", body, headers=blue)
    api.ask("POST", "/v1/scrub", {"pipeline": "secret"}, headers=blue)
    made = api.ask("POST", "/v1/tokens", {"role": "viewer"}, headers={"Warmline-Tenant": "red"})
    shown = api.ask("GET", "/v1/status", token=made.json["token"])
    assert shown.json["scrub"] == {"running": False}
    assert b"secret" not in shown.body
    assert api.ask("GET", "/v1/status").json["scrub"]["pipeline"] == "blue/secret"
