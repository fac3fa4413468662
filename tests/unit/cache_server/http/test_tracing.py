"""The id of a request: whose it is, where it comes back, what it is written to."""

import logging
import re

import pytest

from cache_server.core.tracing import request_id
from tests.fakes.service import LIMIT, SOURCE, VOICE

BODY = {"models": [{"name": "m", "source": SOURCE}]}


class Ids(logging.Handler):
    """Keeps the id under which each line was logged."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append((request_id.get(), record.levelname, record.getMessage()))


@pytest.fixture
def logged():
    handler, root = Ids(), logging.getLogger("cache_server")
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler.lines
    root.removeHandler(handler)
    root.setLevel(before)


def ask(api, name, method="GET", path="/v1/status", body=None):
    return api.ask(method, path, body, headers={"X-Request-Id": name})


def test_an_answer_carries_the_id_that_the_caller_gave(api):
    assert ask(api, "start-1.a_b").headers["x-request-id"] == "start-1.a_b"


def test_who_gives_none_is_given_one(api):
    first, second = (api.ask("GET", "/healthz").headers["x-request-id"] for _ in range(2))
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert first != second


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, 'a"b', "\xe4", "a{b}"])
def test_what_no_log_should_hold_is_replaced(api, name):
    assert re.fullmatch("[0-9a-f]{16}", ask(api, name).headers["x-request-id"])


def test_a_refusal_carries_it_as_well(api):
    answer = api.ask("GET", "/v1/status", token="wrong", headers={"X-Request-Id": "mine"})
    assert (answer.status, answer.headers["x-request-id"]) == (401, "mine")


def test_what_changes_something_is_logged_with_it_and_what_looks_only_for_who_debugs(api, logged):
    ask(api, "one", "PUT", "/v1/pipelines/voice", BODY)
    ask(api, "two")
    ask(api, "three")  # lines come after answers: those of before are written now
    assert ("one", "INFO", "PUT /v1/pipelines/voice") in logged
    assert ("two", "DEBUG", "GET /v1/status") in logged


def test_a_fill_logs_under_the_id_of_who_began_it(api, bench, origin, logged):
    ask(api, "one", "PUT", "/v1/pipelines/voice", BODY)
    bench.resolved()
    with origin.held():
        ask(api, "two", path="/v1/pipelines/voice/manifest")
        work = bench.slot().work
    work.done.result(LIMIT)  # after the last line
    (warm,) = [line for line in logged if "is warm" in line[2]]
    assert warm[:2] == ("two", "INFO")


def test_what_is_about_a_pipeline_names_it_in_fields(bench, caplog):
    caplog.set_level(logging.INFO)
    bench.put()
    assert bench.warm() is None
    bench.service.removal.evict(VOICE, force=False)
    about = [r for r in caplog.records if "is warm" in r.message or "evicted" in r.message]
    assert [(r.tenant, r.pipeline) for r in about] == [("default", "voice")] * 2


def test_a_path_with_line_breaks_is_one_line(api, logged):
    ask(api, "one", "DELETE", "/v1/pipelines/a%0Aforged")
    ask(api, "two")
    assert any(line[0] == "one" for line in logged)
    assert not [line for line in logged if "\n" in line[2]]


def test_no_secret_is_in_the_lines_of_requests(api, logged):
    api.ask("POST", "/v1/tokens?secret=1", {"role": "viewer"}, token="wl_x_secretsecret")
    ask(api, "two")
    assert any("/v1/tokens" in line[2] for line in logged)
    assert not [line for line in logged if "secret" in line[2]]
