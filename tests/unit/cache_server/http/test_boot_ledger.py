"""Reports of boots over HTTP: what is kept of them, and what many of them say together."""

import pytest

from tests.fakes.boot_reports import boot_report


def report(seconds=10.0, pipeline="voice", **fields):
    phases = {"load": (0.5, seconds - 0.5)}
    return boot_report(seconds, pipeline=pipeline, phases=phases) | fields


def stats(api, query=""):
    return api.ask("GET", f"/v1/boots/stats{query}").json["stats"]


def test_a_report_is_kept_with_the_region_of_its_node(api):
    assert api.ask("POST", "/v1/boots", report()).json["region"] == "test"
    assert api.ask("GET", "/v1/boots").json["boots"][0]["region"] == "test"


@pytest.mark.parametrize("started", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_an_instant_that_is_out_of_the_calendar_is_refused(api, started):
    answer = api.ask("POST", "/v1/boots", report(started=started))
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "started")


def test_figures_are_there_for_each_pipeline(api):
    for seconds, pipeline in ((10.0, "voice"), (20.0, "voice"), (3.0, "tts")):
        api.ask("POST", "/v1/boots", report(seconds, pipeline))
    tts, voice = stats(api)
    assert (tts["pipeline"], voice["pipeline"]) == ("tts", "voice")
    assert (voice["region"], voice["start_path"], voice["boots"]) == ("test", "cold", 2)
    assert voice["time_to_ready"] == {"p50": 15.0, "p90": 19.0, "p99": 19.9, "max": 20.0}
    assert voice["phases"] == [{"name": "load", "p50": 14.5, "p90": 18.5, "p99": 19.4, "max": 19.5}]
    assert voice["regression"] is None


def test_figures_of_one_pipeline_are_those_of_all_its_boots(api):
    for pipeline in ("voice", "tts"):
        api.ask("POST", "/v1/boots", report(pipeline=pipeline))
    assert [each["pipeline"] for each in stats(api, "?pipeline=tts")] == ["tts"]


def test_slower_boots_are_flagged_with_the_phase_that_grew(api):
    for seconds in [10.0] * 50 + [15.0] * 10:
        api.ask("POST", "/v1/boots", report(seconds))
    (voice,) = stats(api)
    assert voice["regression"] == {
        "before": 10.0,
        "now": 15.0,
        "phase": "load",
        "phase_before": 9.5,
        "phase_now": 14.5,
    }


def test_figures_without_a_good_boot_have_no_times(api):
    api.ask("POST", "/v1/boots", report(ok=False, reason="no answer", source="origin"))
    (voice,) = stats(api)
    assert (voice["boots"], voice["failed"], voice["sources"]) == (1, 1, {"origin": 1})
    assert (voice["time_to_ready"], voice["weight_wait"], voice["phases"]) == (None, None, [])
