"""The description of the API: one line for every call, and refusals as they really are."""

import pytest

from cache_server.http.described import CALLS, PROBLEM
from cache_server.http.problems import STATUS
from tests.fakes.boot_reports import boot_report
from tests.fakes.control_plane import ControlPlane

JSON = "application/json"
BOOT = boot_report()


def described(plane: ControlPlane) -> dict[str, dict]:
    paths = plane.ask("GET", "/openapi.json").json["paths"]
    return {f"{m.upper()} {path}": said for path, of in paths.items() for m, said in of.items()}


def answers(said: dict) -> list[dict]:
    return [r for status, r in said["responses"].items() if status.startswith("2")]


def test_every_call_that_answers_in_json_has_its_line_and_no_line_is_left_over(api):
    calls = described(api)
    assert set(CALLS) <= set(calls)
    for call in set(calls) - set(CALLS):
        assert not any(JSON in answer.get("content", {}) for answer in answers(calls[call])), call


def test_a_refusal_is_described_as_a_problem_document(api):
    for call, said in described(api).items():
        for status, answer in said["responses"].items():
            if not status.startswith("2") and (call, status) != ("GET /readyz", "503"):
                assert list(answer["content"]) == [PROBLEM], (call, status)


def test_every_call_but_the_probes_needs_a_token(api):
    open_to_all = {call for call, said in described(api).items() if "security" not in said}
    assert open_to_all == {"GET /healthz", "GET /readyz"}


def test_what_a_line_says_can_be_answered():
    for call, said in CALLS.items():
        assert set(said.refusals) <= set(STATUS), call


def test_a_wrong_method_is_told_all_that_there_are(api):
    answer = api.ask("PATCH", "/v1/pipelines/voice")
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, PUT")


@pytest.mark.parametrize(
    "wrong",
    [{"ok": 1}, {"bytes": True}, {"bytes": "1"}, {"weight_wait": False}, {"started": 0}],
    ids=str,
)
def test_a_boot_s_fields_are_what_they_are_described_as(api, wrong):
    answer = api.ask("POST", "/v1/boots", BOOT | wrong)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, next(iter(wrong)))


def test_a_count_may_be_written_with_a_fraction_of_nothing(api):
    answer = api.ask("POST", "/v1/boots", BOOT | {"bytes": 7.0})
    assert (answer.status, answer.json["bytes"]) == (201, 7)
