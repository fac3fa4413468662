import http.client

import pytest

from cache_protocol.plans import MAX_PLAN
from cache_server.http import plan_turns
from cache_server.http.door import MAX_BODY
from tests.fakes.control_plane import TOKEN

PUT = "/v1/pipelines/voice"
PLAN = "/v1/pipelines/voice/plans/m/x"


def sent(api, body, *, token=TOKEN, path=PUT, method="PUT"):
    """Send a body, in chunks when it is an iterator; return the answer."""
    connection = api.connect()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        connection.request(method, path, body, headers)
        return api.receive(connection)
    finally:
        connection.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "in chunks"])
def test_a_body_above_the_bound_is_413_as_a_problem_document(api, chunked):
    body = b" " * (MAX_BODY + 1)
    answer = sent(api, iter([body[:MAX_BODY], body[MAX_BODY:]]) if chunked else body)
    assert answer.status == answer.json["status"] == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json["code"], answer.json["retry"]) == ("malformed", "never")


def test_a_body_at_the_bound_is_read(api):
    body = b'{"models": [{"name": "m", "source": "file:///m"}]}'
    assert sent(api, body.ljust(MAX_BODY)).status == 201


def test_who_has_no_token_is_refused_before_the_body_is_read(api):
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
    connection.putrequest("PUT", PUT)
    connection.putheader("Content-Length", "1000")  # and none of it is ever sent
    connection.endheaders()
    try:
        assert connection.getresponse().status == 401
    finally:
        connection.close()


def test_a_plan_may_be_larger_than_any_other_body(api):
    assert sent(api, b" " * (MAX_BODY + 1), path=PLAN).status == 404  # it was read


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_calls_for_plans_may_not(api, method):
    assert sent(api, b" " * (MAX_BODY + 1), path=PLAN, method=method).status == 413


def test_a_plan_above_its_own_bound_is_413_before_it_has_come(api):
    connection = api.connect()
    connection.putrequest("PUT", PLAN)
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", str(MAX_PLAN + 1))
    connection.endheaders()
    try:
        assert api.receive(connection).status == 413
    finally:
        connection.close()


def test_a_second_large_plan_of_a_tenant_is_asked_to_come_back(api, monkeypatch):
    monkeypatch.setattr(plan_turns, "PACE", 1)
    monkeypatch.setattr(plan_turns, "PATIENCE", 0.01)
    first, second = (sent(api, b" " * (MAX_BODY + 1), path=PLAN) for _ in range(2))
    assert first.status == 404
    assert (second.status, second.json["code"]) == (429, "busy")
    assert second.headers["retry-after"]


def test_who_may_leave_no_plan_takes_no_turn_from_who_may(api, monkeypatch):
    monkeypatch.setattr(plan_turns, "PACE", 1)
    monkeypatch.setattr(plan_turns, "PATIENCE", 0.01)
    viewer = api.ask("POST", "/v1/tokens", {"role": "viewer"}).json["token"]
    narrow = {"role": "replica", "pipelines": ["other"]}
    elsewhere = api.ask("POST", "/v1/tokens", narrow).json["token"]
    assert sent(api, b" " * 100, token=viewer, path=PLAN).status == 403
    assert sent(api, b" " * 100, token=elsewhere, path=PLAN).status == 404
    assert sent(api, b" " * 100, path=PLAN).status == 404


def test_who_announces_a_plan_and_leaves_has_nobody_wait_for_it(api, monkeypatch):
    monkeypatch.setattr(plan_turns, "PACE", 1)
    monkeypatch.setattr(plan_turns, "LEAST", 0)
    connection = api.connect()
    connection.putrequest("PUT", PLAN)
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", str(MAX_PLAN))
    connection.endheaders()
    connection.close()
    assert sent(api, b" ", path=PLAN).status == 404


def test_the_probes_bound_their_bodies_as_well(api):
    assert sent(api, b" " * (MAX_BODY + 1), token="", path="/healthz", method="GET").status == 413
