"""Who may ask the hub's door what: every role, every question, own and foreign pipelines.

The table is complete over the questions that the door understands: the routes' own matrix knows
it as one route, which takes them all.
"""

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from cache_server.catalogue.registry import Key
from cache_server.core.access import Right, Role
from cache_server.core.content import ModelSpec
from cache_server.doors.hub.address import Kind, parse
from cache_server.http.access import rule_of
from tests.unit.cache_server.doors.hub.conftest import SOURCE

READERS = {Role.ADMIN, Role.REPLICA}
# question -> method, path below the pipeline, whether it is about the pipeline
CALLS = {
    Kind.WHOAMI: ("GET", "api/whoami-v2", False),
    Kind.INFO: ("GET", "api/models/org/name", True),
    Kind.REFS: ("GET", "api/models/org/name/refs", True),
    Kind.TREE: ("GET", "api/models/org/name/tree/main", True),
    Kind.PATHS: ("POST", "api/models/org/name/paths-info/main", True),
    Kind.AUTH: ("GET", "api/models/org/name/auth-check", True),
    Kind.FILE: ("GET", "org/name/resolve/main/config.json", True),
}
BODY = {"paths": ["config.json"]}


def token(door, role, tenant="default", only=None):
    body = {"role": role} | ({"pipelines": [only]} if only else {})
    made = door.ask("POST", "/v1/tokens", body, headers={"Warmline-Tenant": tenant})
    return made.json["token"]


def asked(door, kind, text, pipeline="voice"):
    method, path, _ = CALLS[kind]
    return door.ask(method, f"/hf/{pipeline}/{path}", BODY if method == "POST" else None, text)


def test_the_table_has_every_question():
    assert set(CALLS) == set(Kind)
    for kind, (method, path, _) in CALLS.items():
        question = parse(path)
        assert question is not None
        assert (question.kind, question.methods[0]) == (kind, method)


def test_every_route_of_the_door_needs_the_right_to_read(door):
    routes = [c.original_route for c in iter_route_contexts(door.app.routes)]
    ours = [r for r in routes if isinstance(r, APIRoute) and r.path.startswith("/hf")]
    assert ours
    assert {rule_of(route) for route in ours} == {Right.READ}


def test_the_door_is_not_in_the_description_of_the_api(door):
    paths = door.ask("GET", "/openapi.json").json["paths"]
    assert not [path for path in paths if path.startswith("/hf")]


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_ask_its_questions_and_no_others(door, role):
    text = token(door, role)
    for kind in CALLS:
        got = asked(door, kind, text)
        assert got.status == (200 if role in READERS else 403), kind
        assert role in READERS or "x-error-message" in got.headers


def test_a_foreign_pipeline_looks_exactly_like_one_that_does_not_exist(door):
    theirs = Key("other", "theirs")
    door.bench.put(ModelSpec("m", SOURCE), key=theirs)
    door.bench.resolved(theirs)
    text = token(door, "replica")
    for kind, (_, _, about) in CALLS.items():
        if about:
            foreign, absent = (asked(door, kind, text, name) for name in ("theirs", "absent"))
            assert foreign.status == absent.status == 404, kind
            assert foreign.headers["x-error-code"] == absent.headers["x-error-code"]
            assert foreign.body.replace(b"theirs", b"absent") == absent.body


def test_for_a_token_of_one_pipeline_there_is_no_other(door):
    text = token(door, "replica", only="beside")
    for kind, (_, _, about) in CALLS.items():
        if about:
            assert asked(door, kind, text).headers["x-error-code"] == "RepoNotFound", kind


def test_the_same_name_in_another_tenant_is_another_pipeline(door):
    text = token(door, "replica", tenant="elsewhere")
    assert asked(door, Kind.INFO, text).status == 404
