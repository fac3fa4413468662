"""``/hf/-/``: one endpoint for all that a tenant may have."""

import itertools
import threading
import time
from contextlib import contextmanager

import pytest

from cache_protocol.errors import OriginDeniedError, OriginNotFoundError
from cache_server.core.on_demand import pipeline_of
from cache_server.core.tenants import ANYWHERE, Tenant
from cache_server.doors.holds import Holds
from cache_server.doors.hub import patience
from cache_server.doors.hub.routes import hub_annex
from cache_server.doors.on_demand import OnDemand
from cache_server.doors.shelf import Shelf
from cache_server.http.api import by_token
from tests.fakes.control_plane import control_plane
from tests.unit.cache_server.doors.hub.conftest import SMALL, SOURCE

INFO = "/hf/-/api/models/org/name"
PIPELINE = pipeline_of("org/name", "main")


@contextmanager
def open_door(bench, *, on_demand=True):
    tenant = Tenant("default", origins=ANYWHERE, on_demand=on_demand)
    holds = Holds(bench.service, monotonic=bench.clock.monotonic)
    found = OnDemand(
        bench.service,
        lambda _: tenant.on_demand,
        lambda models, _: [tenant.check(spec) for spec in models],
        bench.service._filling._open_origin,
    )

    def doors(service, wiring):
        return [hub_annex(Shelf(service, holds), wiring.data, by_token(wiring), found)]

    with control_plane(bench.service, doors=doors) as plane:
        yield plane
    found.close()


@pytest.fixture
def api(bench):
    with open_door(bench) as plane:
        yield plane


def token(api, **body):
    made = api.ask("POST", "/v1/tokens", body)
    assert made.status == 201, made.body
    return made.json["token"]


def pipelines(api):
    return [p["id"] for p in api.ask("GET", "/v1/pipelines").json["pipelines"]]


def test_a_replicas_token_is_enough_for_a_repository_that_nobody_put(api):
    got = api.ask("GET", INFO, token=token(api, role="replica"))
    assert (got.status, got.json["id"]) == (200, "org/name")
    assert pipelines(api) == [PIPELINE]


def test_a_client_reads_on_by_commit_in_the_same_slot(api):
    commit = api.ask("GET", f"{INFO}/revision/main").json["sha"]
    got = api.ask("GET", f"/hf/-/org/name/resolve/{commit}/config.json")
    if got.status == 302:  # it is on its way
        assert got.headers["x-repo-commit"] == commit
    else:
        assert got.body == SMALL
    assert pipelines(api) == [PIPELINE]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OriginDeniedError("Repository not found, RepoNotFound, HTTP 401"), 404, "RepoNotFound"),
        (OriginNotFoundError("Repository not found, RepoNotFound, HTTP 404"), 404, "RepoNotFound"),
        (OriginNotFoundError("no v9, RevisionNotFound, HTTP 404"), 404, "RevisionNotFound"),
        (OriginDeniedError("not in the list, GatedRepo, HTTP 403"), 403, "GatedRepo"),
    ],
)
def test_what_the_hub_refuses_is_said_in_its_words_and_not_registered(
    api, origin, error, status, code
):
    origin.deny(error)
    got = api.ask("GET", INFO)
    assert (got.status, got.headers["x-error-code"]) == (status, code)
    assert pipelines(api) == []


def test_without_the_word_of_the_tenants_file_nothing_comes_by_itself(bench):
    with open_door(bench, on_demand=False) as api:
        got = api.ask("GET", INFO)
        assert got.status == 403
        assert "on_demand: true" in got.headers["x-error-message"]
        assert pipelines(api) == []


def test_a_token_of_named_pipelines_registers_no_other(api, origin):
    narrow = token(api, role="replica", pipelines=["voice"])
    got = api.ask("GET", INFO, token=narrow)
    assert (got.status, got.headers["x-error-code"]) == (404, "RepoNotFound")
    assert origin.resolves == 0
    ours = token(api, role="replica", pipelines=[PIPELINE])
    assert api.ask("GET", INFO, token=ours).status == 200


@pytest.mark.parametrize("role", ["viewer", "deployer"])
def test_who_may_not_read_registers_nothing_by_reading(api, role):
    assert api.ask("GET", INFO, token=token(api, role=role)).status == 403
    assert pipelines(api) == []


def test_a_hub_that_is_silent_is_no_missing_repository(api, origin, monkeypatch):
    monkeypatch.setattr(patience, "PATIENCE", 0.05)
    resolve, origin.resolve = origin.resolve, lambda: origin.gate.wait(30) and resolve()
    with origin.held():
        got = api.ask("GET", INFO)
        assert (got.status, got.headers["retry-after"]) == (429, "5")
    assert api.ask("GET", INFO).status in (200, 429)


def test_what_a_hub_has_taken_to_answer_is_not_waited_for_once_more(
    api, bench, origin, monkeypatch
):
    looks, waiting, over = itertools.count(), threading.Event(), threading.Event()
    resolve, may_be_laid_out = origin.resolve, bench.service._filling.reconciled

    def monotonic():
        if next(looks):  # the first one is when it comes
            waiting.set()
        return 4.0 if over.is_set() else 0.0

    def slowly():
        assert waiting.wait(30)
        over.set()
        may_be_laid_out.clear()  # the slot keeps its reader waiting as well
        return resolve()

    monkeypatch.setattr(patience, "monotonic", monotonic)
    origin.resolve = slowly
    began = time.monotonic()
    try:
        got = api.ask("GET", INFO)
        assert (got.status, "the origin of" in got.json["error"]) == (429, True)
    finally:
        may_be_laid_out.set()
    assert time.monotonic() - began < 3  # a second wait of its own would take 4


def test_whoami_asks_for_no_repository(api, origin):
    assert api.ask("GET", "/hf/-/api/whoami-v2").status == 200
    assert origin.resolves == 0


def test_a_node_without_it_has_no_such_pipeline(bench):
    holds = Holds(bench.service, monotonic=bench.clock.monotonic)

    def doors(service, wiring):
        return [hub_annex(Shelf(service, holds), wiring.data, by_token(wiring))]

    with control_plane(bench.service, doors=doors) as plane:
        assert plane.ask("GET", INFO).headers["x-error-code"] == "RepoNotFound"


def test_the_source_is_the_repository_itself(api, bench):
    api.ask("GET", INFO)
    view = api.ask("GET", f"/v1/pipelines/{PIPELINE}").json
    assert [(m["source"], m["revision"]) for m in view["models"]] == [(SOURCE, "main")]
