import pytest

from cache_server.dashboard.actions import ACTIONS
from cache_server.store.root import Root

VOICE = "/pipelines/voice?tenant=default"


@pytest.fixture
def warm(bench):
    bench.put()
    assert bench.warm() is None
    return bench


def test_each_action_asks_once_and_says_what_it_costs(site, warm):
    assert b"everything is pulled anew" in site.get("/pipelines/voice/evict?tenant=default").body
    for action in ACTIONS:
        page = site.get(f"/pipelines/voice/{action}?tenant=default")
        assert page.status == 200
        assert b'method="post"' in page.body
        assert warm.cache()["state"] == "warm"


def test_room_that_the_file_system_does_not_have_is_not_called_free(site, warm, monkeypatch):
    monkeypatch.setattr(Root, "disk_free", 7_000_000)
    assert b"7.0 MB are free" in site.get("/pipelines/voice/warm?tenant=default").body


def test_evict_takes_the_pipeline_off_the_node_and_says_so(site, warm):
    answer = site.act("voice", "evict")
    assert answer.status == 303
    assert warm.cache()["state"] == "cold"
    assert b"Evicted" in site.get(answer.headers["location"]).body


def test_a_pipeline_that_is_read_is_evicted_with_force_only(site, warm):
    warm.grant(warm.open())
    refused = site.act("voice", "evict")
    assert refused.status == 409
    assert b"1 replica reads voice" in refused.body
    assert warm.cache()["state"] == "warm"
    assert site.act("voice", "evict", force="yes").status == 303


def test_warm_starts_a_fill(site, bench, origin):
    bench.put()
    bench.resolved()
    with origin.held():
        assert site.act("voice", "warm").status == 303
        assert bench.cache()["state"] == "filling"
    assert bench.settle() is None


def test_pin_and_unpin(site, warm):
    site.act("voice", "pin")
    assert warm.cache()["pinned"]
    site.act("voice", "unpin")
    assert not warm.cache()["pinned"]


def test_a_form_of_another_session_changes_nothing(site, warm):
    path = "/pipelines/voice/evict?tenant=default"
    old = site.proof(path)
    site.sign_in(site.token("deployer")["token"])
    for proof in (old, "", "x"):
        answer = site.post(path, {"proof": proof})
        assert (answer.status, warm.cache()["state"]) == (403, "warm")


def test_a_form_that_another_site_sends_changes_nothing(site, warm):
    path = "/pipelines/voice/evict?tenant=default"
    answer = site.post(path, {"proof": site.proof(path)}, Origin="https://evil.example")
    assert (answer.status, warm.cache()["state"]) == (403, "warm")


def test_what_is_no_form_changes_nothing(site, warm):
    path = "/pipelines/voice/evict?tenant=default"
    answer = site.post(path, {"proof": site.proof(path)}, **{"Content-Type": "text/plain"})
    assert (answer.status, warm.cache()["state"]) == (422, "warm")


def test_a_viewer_is_shown_no_actions_and_may_make_none(stranger, warm):
    stranger.sign_in(stranger.token("viewer")["token"])
    assert b"/evict" not in stranger.get(VOICE).body
    for action in ACTIONS:
        path = f"/pipelines/voice/{action}?tenant=default"
        assert stranger.get(path).status == 403
        assert stranger.post(path, {"proof": stranger.proof()}).status == 403
    assert warm.cache()["state"] == "warm"


def test_a_deployer_acts_in_its_own_tenant_alone(stranger, warm):
    stranger.sign_in(stranger.token("deployer", tenant="other")["token"])
    path = "/pipelines/voice/evict?tenant=default"
    assert stranger.post(path, {"proof": stranger.proof()}).status == 403
    assert stranger.post("/pipelines/voice/evict", {"proof": stranger.proof()}).status == 404
    assert warm.cache()["state"] == "warm"
