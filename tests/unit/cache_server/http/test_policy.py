import pytest

from cache_server.core.ledger import room
from tests.fakes.control_plane import control_plane
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, VOICE, chunks, running_service

BODY = {"models": [{"name": "m", "source": SOURCE}]}
VOICE_URL = "/v1/pipelines/voice"
SIZE = room([2, len(chunks(0.2))])


@pytest.fixture
def warm(api, bench):
    api.ask("PUT", VOICE_URL, BODY)
    bench.warm()
    return api


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/pipelines/voice/evict"),
        ("PUT", "/v1/pipelines/voice/pin"),
        ("DELETE", "/v1/pipelines/voice/pin"),
        ("GET", "/v1/eviction-plan?need=1"),
    ],
)
def test_policy_needs_a_token(api, method, path):
    assert api.ask(method, path, None, token=None).status == 401


def test_an_eviction_says_what_was_freed(warm):
    assert warm.ask("POST", f"{VOICE_URL}/evict").json == {"freed": SIZE}
    assert warm.ask("GET", VOICE_URL).json["cache"]["state"] == "cold"


def test_a_slot_in_use_is_409_until_it_is_forced(warm):
    warm.ask("GET", f"{VOICE_URL}/manifest")
    refused = warm.ask("POST", f"{VOICE_URL}/evict", {})
    assert (refused.status, refused.json["code"]) == (409, "slot-in-use")
    assert warm.ask("POST", f"{VOICE_URL}/evict", {"force": True}).json == {"freed": SIZE}


@pytest.mark.parametrize("path", ["evict", "pin"])
def test_there_is_no_policy_for_a_pipeline_that_nobody_registered(api, path):
    method = "POST" if path == "evict" else "PUT"
    assert api.ask(method, f"/v1/pipelines/nobody/{path}").status == 404


def test_a_pin_is_set_and_taken_away(warm):
    assert warm.ask("PUT", f"{VOICE_URL}/pin").json["cache"]["pinned"]
    assert not warm.ask("DELETE", f"{VOICE_URL}/pin").json["cache"]["pinned"]


def test_a_plan_names_victims_with_size_and_last_request(warm):
    plan = warm.ask("GET", f"/v1/eviction-plan?need={100 * 2**20}").json
    assert plan["victims"] == [
        {"id": "voice", "tenant": "default", "size": SIZE, "last_request": None}
    ]
    assert (plan["freed"], plan["shortfall"]) == (SIZE, 0)


@pytest.mark.parametrize("need", ["", "-1", "x", str(2**64)])
def test_a_plan_needs_a_size(api, need):
    assert api.ask("GET", f"/v1/eviction-plan?need={need}").status == 422


def test_a_refusal_is_507_with_its_numbers(tmp_path, origin, quick_retries):
    origins = MemoryOrigins({SOURCE: MemoryOrigin({"w.dat": chunks(0.2)})})
    with running_service(tmp_path / "root", origins, capacity=2**20) as bench:
        bench.reconciled()
        with control_plane(bench.service) as plane:
            plane.ask("PUT", VOICE_URL, BODY)
            bench.resolved()
            refused = plane.ask("POST", f"{VOICE_URL}/warm")
    assert (refused.status, refused.json["code"], refused.json["retry"]) == (
        507,
        "capacity",
        "later",
    )
    assert refused.json["numbers"].keys() == {
        "needed", "free", "hot", "pinned", "leased", "filling"
    }  # fmt: skip


def test_a_pipeline_can_ask_to_be_warmed_when_it_is_registered(api, bench):
    api.ask("PUT", VOICE_URL, {**BODY, "warm": True})
    assert bench.settle(VOICE) is None
    assert api.ask("GET", VOICE_URL).json["cache"]["warm"]
