import hashlib
from datetime import datetime

import pytest

from cache_protocol.digests import git_blob_hash
from cache_protocol.errors import DiskError, OriginDeniedError, OriginUnavailableError
from cache_protocol.manifest import parse_manifest
from cache_server.catalogue.registry import Key
from cache_server.service.disk_watch import DiskWatch, SickDiskError
from tests.fakes.control_plane import TOKEN, control_plane
from tests.fakes.service import LIMIT, SOURCE, VOICE, chunks

BODY = {"models": [{"name": "m", "source": SOURCE}]}
SLOW = {"models": [{"name": "m", "source": "file:///slow"}]}
GUARDED = [
    ("GET", "/v1/pipelines"),
    ("PUT", "/v1/pipelines/voice"),
    ("GET", "/v1/pipelines/voice"),
    ("DELETE", "/v1/pipelines/voice"),
    ("POST", "/v1/pipelines/voice/warm"),
    ("POST", "/v1/pipelines/voice/touch"),
    ("GET", "/v1/pipelines/voice/manifest"),
    ("PUT", "/v1/leases/x"),
    ("DELETE", "/v1/leases/x"),
    ("GET", "/v1/status"),
    ("GET", "/openapi.json"),
]


# Who may ask.


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_the_right_token_nothing_is_answered(api, method, path):
    body = BODY if method == "PUT" else None
    for token in (None, "wrong", "", TOKEN + "x", TOKEN[:-1], "\xfc"):
        answer = api.ask(method, path, body, token=token)
        assert (answer.status, answer.json["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_there_are_no_pages_beside_the_api(api, path):
    assert api.ask("GET", path).status == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_no_token(api, path):
    assert api.ask("GET", path, token=None).status == 200


def test_with_auth_off_nobody_needs_a_token(bench):
    with control_plane(bench.service, auth=False) as plane:
        assert plane.ask("GET", "/v1/pipelines", token=None).status == 200


def test_the_description_of_the_api_is_served_to_who_has_the_token(api):
    paths = api.ask("GET", "/openapi.json").json["paths"]
    assert "/v1/pipelines/{pipeline}/manifest" in paths


# What may be sent.


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "models"),
        ({"models": []}, "models"),
        ({"models": [{"name": "m"}]}, "models.0.source"),
        ({"models": [{"name": 1, "source": SOURCE}]}, "models.0.name"),
        ({"models": [{"name": "../m", "source": SOURCE}]}, "models.0.name"),
        ({"models": [BODY["models"][0], {"name": "n", "source": "ftp://x"}]}, "models.1.source"),
        ({"models": [{"name": "m", "source": SOURCE, "exlude": ["*"]}]}, "models.0.exlude"),
        ({"models": [{"name": "m", "source": SOURCE, "include": "*"}]}, "models.0.include"),
        ({"models": [{"name": "m", "source": SOURCE, "credentials": "../x"}]}, "models.0.cred"),
        ({**BODY, "pinned": "yes"}, "pinned"),
        ({**BODY, "unknown": 1}, "unknown"),
        ([], "body"),
    ],
)
def test_a_body_of_the_wrong_form_is_refused_with_the_field(api, body, field):
    answer = api.ask("PUT", "/v1/pipelines/voice", body)
    assert (answer.status, answer.json["code"]) == (422, "malformed")
    assert answer.json["errors"][0]["field"].startswith(field)
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_malformed_id_is_refused_with_the_field(api):
    answer = api.ask("PUT", "/v1/pipelines/Voice", BODY)
    assert (answer.status, answer.json["errors"][0]["field"]) == (422, "pipeline")
    assert "'Voice' is not" in answer.json["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"models": NaN}', b"[" * 10000])
def test_a_body_that_is_no_json_is_refused(api, body):
    answer = api.ask("PUT", "/v1/pipelines/voice", body)
    assert (answer.status, answer.json["code"]) == (422, "malformed")


@pytest.mark.parametrize(
    ("model", "word"),
    [
        ({"name": "../m", "source": SOURCE}, "model name"),
        ({"name": "m", "source": "ftp://x"}, "ftp"),
        ({"name": "m", "source": "file://relative"}, "relative"),
        ({"name": "m", "source": SOURCE, "revision": "main"}, "revision"),
        ({"name": "m", "source": "hf://o/n@a", "revision": "b"}, "disagree"),
        ({"name": "m", "source": "file:///\ud800"}, "source"),
    ],
)
def test_a_source_or_name_that_cannot_be_is_refused_by_name(api, model, word):
    answer = api.ask("PUT", "/v1/pipelines/voice", {"models": [model]})
    assert answer.status == 422
    assert word in answer.json["detail"]


@pytest.mark.parametrize("name", ["Voice", "-voice", "v" * 101, "a%00b", "a%2Fb", "%F0%9F%98%80"])
def test_an_id_that_cannot_be_is_refused(api, name):
    answer = api.ask("PUT", f"/v1/pipelines/{name}", BODY)
    assert answer.status in (404, 405, 422)
    assert answer.headers["content-type"] == "application/problem+json"


def test_two_models_of_one_name_are_refused(api):
    two = {"models": [{"name": n, "source": SOURCE} for n in ("asr", "ASR")]}
    assert "two models" in api.ask("PUT", "/v1/pipelines/voice", two).json["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/nothing"), ("PATCH", "/v1/pipelines"), ("GET", "/v1/leases/x")],
)
def test_a_route_that_is_none_is_a_problem_document_too(api, method, path):
    answer = api.ask(method, path)
    assert answer.status in (404, 405)
    assert answer.json["retry"] == "never"


# What is answered.


def test_a_new_pipeline_is_201_and_the_same_again_200(api):
    assert api.ask("PUT", "/v1/pipelines/voice", BODY).status == 201
    answer = api.ask("PUT", "/v1/pipelines/voice", BODY)
    assert (answer.status, answer.json["id"], answer.json["cache"]["state"]) == (
        200,
        "voice",
        "cold",
    )


@pytest.mark.parametrize(
    ("method", "action"),
    [("GET", ""), ("DELETE", ""), ("POST", "/warm"), ("POST", "/touch"), ("GET", "/manifest")],
)
def test_an_unknown_pipeline_is_404(api, method, action):
    answer = api.ask(method, f"/v1/pipelines/nobody{action}")
    assert (answer.status, answer.json["code"]) == (404, "unknown-pipeline")


def test_warming_answers_202_and_the_slot(api, bench):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    answer = api.ask("POST", "/v1/pipelines/voice/warm")
    assert (answer.status, answer.json["cache"]["state"]) == (202, "filling")
    assert bench.settle() is None
    cache = api.ask("GET", "/v1/pipelines/voice").json["cache"]
    assert (cache["state"], cache["warm"], cache["filled"]) == ("warm", True, cache["size"])


def test_a_touch_counts_as_a_request(api):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    assert api.ask("POST", "/v1/pipelines/voice/touch").status == 204
    assert api.ask("GET", "/v1/pipelines/voice").json["cache"]["hot"]


def test_a_manifest_of_a_cold_slot_starts_the_fill_and_holds_a_lease(api, bench, origin):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    with origin.held():
        answer = api.ask("GET", "/v1/pipelines/voice/manifest")
        assert bench.cache()["state"] == "filling"
    manifest = parse_manifest(answer.body)
    assert [f.path for _, f in manifest.files()] == ["config.json", "w.dat"]
    assert answer.headers["cache-control"] == "no-store"
    assert bench.service.leases.held() == {manifest.generation}
    assert bench.settle() is None


def test_a_manifest_of_a_warm_slot_has_every_digest(api, bench, origin):
    origin.digests = False
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    assert bench.warm() is None
    manifest = parse_manifest(api.ask("GET", "/v1/pipelines/voice/manifest").body)
    assert all(f.sha256 for _, f in manifest.files())


def test_the_data_plane_is_where_the_replica_reached_this_node(api):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    manifest = parse_manifest(api.ask("GET", "/v1/pipelines/voice/manifest").body)
    (_, file), *_ = manifest.files()
    assert file.urls[0].startswith("http://127.0.0.1:8081/files/")


@pytest.mark.parametrize(
    ("advertise", "base"),
    [
        ("cache", "http://cache:8081/"),
        ("cache:9", "http://cache:9/"),
        ("[::1]", "http://[::1]:8081/"),
        ("[::1]:9", "http://[::1]:9/"),
    ],
)
def test_the_data_plane_is_where_the_operator_says(bench, advertise, base):
    with control_plane(bench.service, advertise=advertise) as plane:
        plane.ask("PUT", "/v1/pipelines/voice", BODY)
        manifest = parse_manifest(plane.ask("GET", "/v1/pipelines/voice/manifest").body)
    (_, file), *_ = manifest.files()
    assert file.urls[0].startswith(base)


def test_what_the_origin_refuses_a_waiting_replica_is_told(api, origin):
    origin.deny(OriginDeniedError("gated: ask for access"))
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    answer = api.ask("GET", "/v1/pipelines/voice/manifest")
    assert (answer.status, answer.json["code"]) == (502, "origin-denied")
    assert (answer.json["retry"], answer.json["detail"]) == ("never", "gated: ask for access")


def test_a_pipeline_that_does_not_fit_is_507_with_the_numbers(api, bench, origin):
    origin.files["w.dat"] = chunks(13)
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    bench.resolved()
    answer = api.ask("POST", "/v1/pipelines/voice/warm")
    assert (answer.status, answer.json["code"]) == (507, "capacity")
    assert answer.json["retry"] == "later"
    assert "needed" in answer.json["detail"]
    assert bench.service.figures.status()["used"] == 0


def test_a_replica_of_a_pipeline_that_does_not_fit_is_told_that_it_passes_through(
    api, bench, origin
):
    origin.files["w.dat"], origin.git = chunks(13), {"config.json"}
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    manifest = parse_manifest(api.ask("GET", "/v1/pipelines/voice/manifest").body)
    assert manifest.source == "pass-through"
    assert manifest.reason.startswith("capacity: 109.1 MB needed")
    config, weights = (file for _, file in manifest.files())
    assert (config.sha256, weights.git_sha1) == (None, None)
    assert config.git_sha1 == git_blob(b"{}")
    assert weights.sha256 == hashlib.sha256(origin.files["w.dat"]).hexdigest()
    assert bench.service.leases.held() == {manifest.generation}


def test_a_replica_of_a_fill_that_hangs_in_a_sick_disk_is_passed_through(api, bench, origin):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    with origin.held():
        bench.open().fail(DiskError("the disk hangs"))
        manifest = parse_manifest(api.ask("GET", "/v1/pipelines/voice/manifest").body)
    assert (manifest.source, manifest.reason) == ("pass-through", "disk: the disk hangs")


def git_blob(data):
    blob = git_blob_hash(len(data))
    blob.update(data)
    return blob.hexdigest()


def test_a_lease_is_renewed_and_given_back(api, bench):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    manifest = parse_manifest(api.ask("GET", "/v1/pipelines/voice/manifest").body)
    bench.settle()
    bench.clock.advance(100)
    renewed = api.ask("PUT", f"/v1/leases/{manifest.lease.id}")
    assert datetime.fromisoformat(renewed.json["expires"]) > manifest.lease.expires
    assert api.ask("DELETE", "/v1/pipelines/voice").status == 409
    assert api.ask("DELETE", f"/v1/leases/{manifest.lease.id}").status == 204
    assert api.ask("DELETE", "/v1/pipelines/voice").json["freed"] > 0


def test_a_lease_that_ran_out_is_410(api):
    assert api.ask("PUT", "/v1/leases/gone").status == 410


def test_force_removes_under_a_reader(api, bench):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    api.ask("GET", "/v1/pipelines/voice/manifest")
    bench.settle()
    answer = api.ask("DELETE", "/v1/pipelines/voice")
    assert (answer.status, answer.json["code"]) == (409, "slot-in-use")
    assert api.ask("DELETE", "/v1/pipelines/voice?force=true").status == 200


def test_the_list_shows_no_files(api, bench):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    bench.warm()
    (pipeline,) = api.ask("GET", "/v1/pipelines").json["pipelines"]
    assert "files" not in pipeline["models"][0]
    assert "files" in api.ask("GET", "/v1/pipelines/voice").json["models"][0]


def test_status_counts_leases_and_bytes(api, bench, origin):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    for _ in range(3):
        api.ask("GET", "/v1/pipelines/voice/manifest")
    bench.settle()
    status = api.ask("GET", "/v1/status").json
    assert (status["leases"], status["origin_bytes"]) == (3, origin.sent.total())
    assert status["pipelines"]["warm"] == 1


# Waiting.


def test_a_hundred_waiting_callers_do_not_keep_a_warm_pipeline_from_answering(api, bench, slow):
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    bench.warm()
    slow.fail_resolve(OriginUnavailableError("busy", retry_after=59), times=8)
    api.ask("PUT", "/v1/pipelines/slow", SLOW)
    waiting = [api.connect() for _ in range(100)]
    try:
        for connection in waiting:
            api.send(connection, "GET", "/v1/pipelines/slow/manifest")
        assert api.ask("GET", "/v1/pipelines/voice/manifest").status == 200
        assert api.ask("GET", "/v1/pipelines/slow").json["cache"]["state"] in ("filling", "cold")
        bench.service.removal.remove(Key("default", "slow"), force=True)
        answers = {api.receive(c).status for c in waiting}
        assert answers <= {404, 429}
    finally:
        for connection in waiting:
            connection.close()


def test_a_silent_origin_beside_a_sick_disk_keeps_no_other_pipeline_from_passing_through(
    api, bench, slow, monkeypatch
):
    def sick(_: DiskWatch) -> None:
        raise SickDiskError("the disk hangs")

    api.ask("PUT", "/v1/pipelines/voice", BODY)
    bench.resolved()
    slow.fail_resolve(OriginUnavailableError("busy", retry_after=59), times=8)
    api.ask("PUT", "/v1/pipelines/slow", SLOW)
    waiting = [api.connect() for _ in range(60)]
    try:
        with monkeypatch.context() as patch:
            patch.setattr(DiskWatch, "check", sick)
            for connection in waiting:
                api.send(connection, "GET", "/v1/pipelines/slow/manifest")
            manifest = parse_manifest(api.ask("GET", "/v1/pipelines/voice/manifest").body)
        assert manifest.source == "pass-through"
        bench.service.removal.remove(Key("default", "slow"), force=True)
        assert {api.receive(c).status for c in waiting} <= {404, 503}
    finally:
        for connection in waiting:
            connection.close()


def test_a_caller_that_leaves_does_not_end_the_fill(api, bench, origin):
    origin.fail_resolve(OriginUnavailableError("busy", retry_after=0.2))
    api.ask("PUT", "/v1/pipelines/voice", BODY)
    with origin.held():
        connection = api.connect()
        api.send(connection, "GET", "/v1/pipelines/voice/manifest")
        connection.close()
        generation = bench.service.ensure(VOICE).result(LIMIT)
    assert bench.settle() is None
    assert generation.published
