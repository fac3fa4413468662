"""``/metrics`` of a real application over a service that did something."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cache_protocol.errors import OriginUnavailableError
from cache_server.core.tenants import Quotas
from cache_server.metrics import exposition
from cache_server.metrics.tenants import tenant_families
from tests.fakes.boot_reports import boot_report
from tests.fakes.control_plane import control_plane
from tests.fakes.service import SOURCE, VOICE

BODY = {"models": [{"name": "m", "source": SOURCE}]}
UNITS = ("_bytes", "_seconds", "_info")


class Lanes:
    connections, active, bytes_sent, requests, refused = 3, 1, 500, 9, {"403": 2}


def report(pipeline="voice", seconds=10.0, **fields):
    phases = {"pull": (0, 4.0), "my-own": (4, 1.0), "its-own": (5, 2.0)}
    return boot_report(seconds, pipeline=pipeline, phases=phases) | fields


@pytest.fixture
def api(bench):
    with control_plane(bench.service, lanes=Lanes) as plane:
        yield plane


def families(api):
    answer = api.ask("GET", "/metrics")
    assert (answer.status, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    return {family.name: family for family in text_string_to_metric_families(answer.body.decode())}


def value(api, name, **labels):
    """Return the value of the one sample of that name that has these labels."""
    (found,) = [
        sample.value
        for family in families(api).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return found


def absent(api, name, **labels):
    return all(
        not labels.items() <= sample.labels.items() for sample in families(api)[name].samples
    )


@pytest.fixture
def warm(api, bench):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    api.ask("GET", "/v1/pipelines/voice/manifest")
    assert bench.settle() is None
    return api


def test_every_name_is_ours_has_a_help_and_follows_the_conventions(warm):
    api_families = families(warm)
    for name, family in api_families.items():
        if name.startswith("process_"):
            continue
        assert re.fullmatch(r"warmline_[a-z_]+[a-z]", name)
        assert family.documentation.endswith(".")
        assert not name.endswith(("_total", "_count", "_sum", "_bucket"))
        assert "milli" not in name


def test_a_cold_start_is_a_miss_and_a_warm_one_a_hit(warm):
    for _ in range(2):
        warm.ask("GET", "/v1/pipelines/voice/manifest")
    assert value(warm, "warmline_manifests_total", result="miss") == 1
    assert value(warm, "warmline_manifests_total", result="hit") == 2
    assert value(warm, "warmline_manifests_total", result="joined") == 0


def test_bytes_of_origins_and_the_fills_time_are_there(warm, origin):
    size = sum(map(len, origin.files.values()))
    assert value(warm, "warmline_origin_bytes_total", purpose="fill") == size
    assert value(warm, "warmline_fill_duration_seconds_count") == 1
    assert value(warm, "warmline_fill_duration_seconds_bucket", le="+Inf") == 1


def test_origins_are_counted_by_what_they_said(api, bench, origin):
    origin.fail_resolve(OriginUnavailableError("busy"))
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    api.ask("GET", "/v1/pipelines/voice/manifest")
    assert bench.settle() is None
    assert value(api, "warmline_origin_requests_total", scheme="file") == 4
    failed = {"scheme": "file", "code": "origin-unavailable"}
    assert value(api, "warmline_origin_errors_total", **failed) == 1


def test_a_stream_that_breaks_is_an_error_of_its_origin(api, bench, origin):
    origin.break_after("w.dat", 1)
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    api.ask("GET", "/v1/pipelines/voice/manifest")
    assert bench.settle() is None
    failed = {"scheme": "file", "code": "origin-unavailable"}
    assert value(api, "warmline_origin_errors_total", **failed) == 1


def test_room_is_told_apart_into_what_is_used_and_what_may_go(warm, bench):
    used = value(warm, "warmline_used_bytes")
    assert used > 0
    assert value(warm, "warmline_evictable_bytes") == 0  # it is hot, and held by a lease
    assert value(warm, "warmline_capacity_bytes") == used + value(warm, "warmline_free_bytes")
    bench.service.leases.end(VOICE)
    bench.clock.advance(49 * 3600)
    assert value(warm, "warmline_evictable_bytes") == used


def test_what_fills_is_reserved_until_it_is_whole(api, bench, origin):
    with origin.held():
        api.ask("PUT", "/v1/pipelines/voice", BODY)
        api.ask("GET", "/v1/pipelines/voice/manifest")
        assert value(api, "warmline_reserved_bytes") == value(api, "warmline_used_bytes") > 0
        assert value(api, "warmline_fills") == 1
    assert bench.settle() is None
    assert value(api, "warmline_reserved_bytes") == 0


def test_an_eviction_is_counted_with_its_reason(warm, bench):
    used = value(warm, "warmline_used_bytes")
    warm.ask("POST", "/v1/pipelines/voice/evict", {"force": True})
    assert value(warm, "warmline_evictions_total", reason="asked") == 1
    assert value(warm, "warmline_evicted_bytes_total", reason="asked") == used
    assert value(warm, "warmline_evictions_total", reason="room") == 0


def test_the_data_planes_counts_are_there(api):
    assert value(api, "warmline_lanes") == 3
    assert value(api, "warmline_served_bytes_total") == 500
    assert value(api, "warmline_data_failures_total", reason="403") == 2


def test_a_registered_pipeline_says_how_it_stands(warm):
    name = {"tenant": "default", "pipeline": "voice"}
    assert value(warm, "warmline_pipeline_warm", **name) == 1
    assert value(warm, "warmline_pipeline_readers", **name) == 1
    assert value(warm, "warmline_pipeline_size_bytes", **name) > 0
    assert value(warm, "warmline_pipelines", state="warm") == 1


def test_among_too_many_pipelines_those_requested_last_have_series(warm, monkeypatch):
    warm.ask("PUT", "/v1/pipelines/never-asked-for", BODY)
    monkeypatch.setattr(exposition, "MAX_PIPELINES", 1)
    assert value(warm, "warmline_pipeline_warm", pipeline="voice") == 1
    assert absent(warm, "warmline_pipeline_warm", pipeline="never-asked-for")


def test_the_room_of_a_tenant_is_there_and_its_quota_where_it_has_one(warm, bench):
    used = value(warm, "warmline_used_bytes")
    assert value(warm, "warmline_tenant_used_bytes", tenant="default") == used
    assert absent(warm, "warmline_tenant_quota_bytes", tenant="default")
    _, quota = tenant_families(bench.service.figures.glances("*"), lambda _: Quotas(bytes=5))
    assert [(s.labels, s.value) for s in quota.samples] == [({"tenant": "default"}, 5)]


def test_the_last_start_of_a_pipeline_says_where_its_time_went(warm):
    assert absent(warm, "warmline_pipeline_last_boot_seconds", pipeline="voice")
    for seconds in (10.0, 12.0):
        warm.ask("POST", "/v1/boots", report(seconds=seconds))
        assert value(warm, "warmline_pipeline_last_boot_seconds", pipeline="voice") == seconds
    name = "warmline_pipeline_last_boot_phase_seconds"
    assert value(warm, name, pipeline="voice", phase="pull") == 4
    assert value(warm, name, pipeline="voice", phase="other") == 3


def test_slower_starts_of_a_pipeline_are_a_metric_with_their_phase(warm):
    def slow(seconds):
        return report(seconds=seconds, phases=[{"name": "load", "start": 0, "seconds": seconds}])

    for seconds in [10.0] * 20 + [14.0] * 10:
        warm.ask("POST", "/v1/boots", slow(seconds))
    name = "warmline_pipeline_boot_regression_seconds"
    assert value(warm, name, pipeline="voice", phase="load") == 4


def test_starts_are_histograms_by_phase_and_by_who_served(api):
    api.ask("POST", "/v1/boots", report())
    api.ask("POST", "/v1/boots", report(ok=False, source="origin", reason="no answer"))
    served = {"source": "cache", "start_path": "cold"}
    assert value(api, "warmline_boot_ready_seconds_bucket", le="10.0", **served) == 1
    assert value(api, "warmline_boot_phase_seconds_sum", phase="pull") == 4
    assert value(api, "warmline_boot_phase_seconds_count", phase="other") == 2
    assert value(api, "warmline_boots_total", source="origin", result="failed") == 1


def test_what_a_replica_makes_up_is_no_label(api):
    api.ask("POST", "/v1/boots", report(pipeline="nobody-registered", start_path="my-way"))
    text = api.ask("GET", "/metrics").body.decode()
    assert "nobody-registered" not in text
    assert "my-way" not in text
    assert "my-own" not in text
    assert value(api, "warmline_boots_total", start_path="other") == 1


def test_answers_are_counted_by_route_and_not_by_path(warm):
    warm.ask("GET", "/v1/pipelines/absent-one")
    warm.ask("GET", "/nowhere/secret-word")
    warm.ask("GET", "/v1/status", token="wrong")
    warm.ask("BREW", "/v1/pipelines/voice")
    route = "/v1/pipelines/{pipeline}"
    assert (
        value(warm, "warmline_http_responses_total", route=route, status="404", method="GET") == 1
    )
    assert value(warm, "warmline_http_responses_total", route="other", status="401") == 1
    text = warm.ask("GET", "/metrics").body.decode()
    for word in ("absent-one", "secret-word", "BREW"):
        assert word not in text


def test_wrong_tokens_are_counted(api):
    api.ask("GET", "/v1/status", token="wrong")
    assert value(api, "warmline_failed_attempts_total") == 1


def test_metrics_of_a_node_that_has_done_nothing_are_whole(api):
    assert value(api, "warmline_evictions_total", reason="room") == 0
    assert value(api, "warmline_digest_failures_total", **{"from": "origin"}) == 0
    assert value(api, "warmline_boots_total", source="origin", result="failed") == 0
    assert value(api, "warmline_boot_ready_seconds_count", source="cache") == 0
    assert value(api, "warmline_boot_phase_seconds_count", phase="first-token") == 0
    assert value(api, "warmline_fill_failures_total", code="capacity") == 0
    assert value(api, "warmline_ready") == 1


@pytest.mark.parametrize("tenant", ["default", "other"])
def test_metrics_are_not_for_who_sees_one_tenant(api, tenant):
    made = api.ask(
        "POST", "/v1/tokens", {"role": "viewer"}, headers={"Warmline-Tenant": tenant}
    ).json
    answer = api.ask("GET", "/metrics", token=made["token"])
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert "--tenant '*'" in answer.json["detail"]


def test_metrics_are_for_a_viewer_of_all_tenants(api):
    made = api.ask("POST", "/v1/tokens", {"role": "viewer"}, headers={"Warmline-Tenant": "*"})
    assert api.ask("GET", "/metrics", token=made.json["token"]).status == 200
