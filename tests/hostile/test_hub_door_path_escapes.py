"""Paths that try to leave the repository, the pipeline, or the door."""

import pytest

from tests.unit.cache_server.doors.hub.conftest import door  # noqa: F401 - a fixture

FILE = "/hf/voice/org/name/resolve/main/"


@pytest.mark.parametrize(
    "path",
    [
        "../config.json",
        "..%2Fconfig.json",
        "sub/../config.json",
        "sub%2F..%2Fconfig.json",
        "./config.json",
        "/config.json",
        "sub//empty.txt",
        "config.json/",
        "config.json%00",
        "%2Fetc%2Fpasswd",
        "%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "..%5c..%5cetc%5cpasswd",
        "%ff%fe",
    ],
)
def test_a_name_is_looked_up_and_is_never_a_path(door, path):  # noqa: F811
    got = door.ask("GET", FILE + path)
    assert (got.status, got.headers["x-error-code"]) == (404, "EntryNotFound")


def test_a_line_end_in_a_name_ends_no_line_of_an_answer(door):  # noqa: F811
    got = door.ask("GET", f"{FILE}config.json%0d%0aX-Evil:%201")
    assert got.status == 404
    assert got.headers["x-error-message"]
    assert "x-evil" not in got.headers


@pytest.mark.parametrize(
    "path",
    [
        "/hf/voice/../../v1/pipelines",
        "/hf/../v1/pipelines",
        "/hf/voice/api/models/org/name/../other",
        "/hf/voice%2F..%2Fother/api/models/org/name",
        "/hf//api/models/org/name",
        "/hf/voice//api/models/org/name",
        "/hf/voice/org/name/resolve/main/../../../../../v1/tokens",
    ],
)
def test_dots_and_slashes_lead_nowhere_else(door, path):  # noqa: F811
    got = door.ask("GET", path)
    assert got.status == 404
    assert got.headers["x-error-message"]  # the hub's words: it did not leave the door


def test_a_slash_that_is_written_out_divides_a_repository_s_name_and_ends_no_pipeline_s(
    door,  # noqa: F811
):
    assert door.ask("GET", "/hf/voice/org%2Fname/resolve/main/config.json").status == 200
    assert door.ask("GET", "/hf/voice%2Forg/name/resolve/main/config.json").status == 404
