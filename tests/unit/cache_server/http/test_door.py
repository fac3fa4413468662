import http.client

import pytest

from cache_server.http.door import MAX_BODY
from tests.fakes.control_plane import TOKEN

PUT = "/v1/pipelines/voice"


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


def test_the_probes_bound_their_bodies_as_well(api):
    assert sent(api, b" " * (MAX_BODY + 1), token="", path="/healthz", method="GET").status == 413
