import re

import pytest

from cache_protocol.errors import OriginDeniedError
from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key
from tests.fakes.glances import NOW, report
from tests.fakes.service import SOURCE

PAGES = ["/", "/node", "/node?need=100MB", "/pipelines/voice?tenant=default"]


@pytest.fixture
def boots(bench):
    return Boots(bench.service._registry)


@pytest.fixture
def voice(bench):
    bench.put()
    assert bench.warm() is None


def text(answer):
    """Return the words of a page, as somebody reads them."""
    assert answer.status == 200
    body = re.sub(r"<(script|style|title)[^>]*>.*?</\1>", "", answer.body.decode(), flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_a_page_can_be_read_without_a_script(site, voice):
    for path in PAGES:
        assert "voice" in text(site.get(path)), path


def test_a_page_loads_nothing_from_elsewhere_and_runs_nothing_of_its_own(site, voice):
    for path in [*PAGES, "/sign-in", "/pipelines/none?tenant=default"]:
        answer = site.get(path)
        policy, page = answer.headers["content-security-policy"], answer.body.decode()
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'"), path
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        elsewhere = r'\sstyle=|\son\w+=|javascript:|(src|href|action)="(https?:)?//'
        assert not re.search(elsewhere, page), path
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page)), path


def test_a_card_says_how_a_pipeline_stands_and_what_its_last_start_took(site, voice, boots):
    boots.add(Key("default", "voice"), report(7.84), NOW)
    words = text(site.get("/"))
    assert "cache: warm" in words
    assert f"m {SOURCE}" in words
    assert "7.8 s from cache" in words


def test_what_is_searched_for_stays_text(site):
    answer = site.get("/?q=%3Cscript%3Ealert(1)%3C/script%3E")
    assert b"<script>alert" not in answer.body
    assert b"&lt;script&gt;alert" in answer.body


def test_a_reason_with_markup_in_it_stays_text(site, voice, boots):
    bad = report(ok=False, reason="<img src=x onerror=alert(1)>", host="<b>host")
    boots.add(Key("default", "voice"), bad, NOW)
    page = site.get("/pipelines/voice?tenant=default").body
    assert b"<img" not in page
    assert b"<b>host" not in page


def test_a_pipeline_page_shows_files_starts_and_figures(site, voice, boots):
    phases = {"pull": (0.2, 4.0), "engine-import": (0.1, 5.0)}
    boots.add(Key("default", "voice"), report(10.0, phases=phases), NOW)
    page = site.get("/pipelines/voice?tenant=default")
    words = text(page)
    assert "w.dat" in words
    assert "verified" in words
    assert b"<title>pull: 4.0 s, from 0.2 s</title>" in page.body
    assert "1 start" in words


def test_a_fill_that_failed_comes_with_what_to_do(site, bench, origin):
    origin.deny(OriginDeniedError("403 from the hub"))
    bench.put()
    bench.resolved()
    bench.warm()
    words = text(site.get("/pipelines/voice?tenant=default"))
    assert "403 from the hub" in words
    assert "What to do: Look whether the secret" in words


def test_starts_that_took_far_longer_than_the_others_are_told_in_words(site, voice, boots):
    for number in range(20):
        boots.add(Key("default", "voice"), report(10 + number / 10), NOW)
    boots.add(Key("default", "voice"), report(90.0), NOW)
    boots.add(Key("default", "voice"), report(5.0, ok=False), NOW)
    page = site.get("/pipelines/voice?tenant=default")
    assert b">up to 1 min 30 s</text>" in page.body
    assert "How long starts took: 21 starts" in text(page)  # one never was ready


def test_starts_that_have_become_slower_are_flagged_with_the_phase_that_grew(site, voice, boots):
    key = Key("default", "voice")
    for number in range(40):
        pull = 4.0 if number < 30 else 9.0
        slow = report(6 + pull + number / 100, phases={"pull": (0.2, pull)})
        boots.add(key, slow, NOW)
    words = text(site.get("/pipelines/voice?tenant=default"))
    assert "Starts have become slower" in words
    assert "what grew is pull" in words


def test_the_node_page_says_who_would_go_for_a_fill(site, voice, bench):
    assert "1 pipeline would go" in text(site.get("/node?need=100MB"))
    assert "Nobody has to go" in text(site.get("/node?need=1MB"))
    assert "Nobody would go" in text(site.get("/node?need=1TB"))


def test_the_node_page_says_in_which_order_pipelines_may_go(site, voice, bench):
    bench.put(key=Key("default", "pinned"))
    bench.warm(Key("default", "pinned"))
    bench.service.pipelines.pin(Key("default", "pinned"), pinned=True)
    page = text(site.get("/node"))
    assert "1 pipeline may go, 10.1 MB together" in page
    bench.service.pipelines.pin(Key("default", "voice"), pinned=True)
    assert "Nobody may go now" in text(site.get("/node"))


def test_only_an_admin_sees_who_would_go(stranger, voice):
    stranger.sign_in(stranger.token("viewer")["token"])
    assert "Eviction order" not in text(stranger.get("/node"))


def test_what_other_tenants_hold_has_no_name(stranger, voice):
    stranger.sign_in(stranger.token("viewer", tenant="other")["token"])
    words = text(stranger.get("/node"))
    assert "voice" not in words
    assert "not yours to see" in words


def test_a_viewer_of_a_tenant_sees_no_other_tenants_pipelines(stranger, voice, bench):
    bench.put(key=Key("other", "theirs"))
    stranger.sign_in(stranger.token("viewer")["token"])
    words = text(stranger.get("/"))
    assert "voice" in words
    assert "theirs" not in words
    assert stranger.get("/pipelines/theirs?tenant=other").status == 403
    assert stranger.get("/?tenant=other").status == 403


def test_a_token_of_one_pipeline_sees_that_one(stranger, voice, bench):
    bench.put(key=Key("default", "beside"))
    stranger.sign_in(stranger.token("viewer", pipelines=["voice"])["token"])
    assert "beside" not in text(stranger.get("/"))
    assert stranger.get("/pipelines/beside?tenant=default").status == 404


def test_an_admin_sees_the_pipelines_of_all_tenants(site, bench):
    bench.put(key=Key("other", "theirs"))
    assert "theirs" in text(site.get("/"))
    assert site.get("/pipelines/theirs?tenant=other").status == 200


def test_a_viewer_of_all_tenants_sees_them_all_and_each_of_them(stranger, bench, voice):
    bench.put(key=Key("other", "theirs"))
    stranger.sign_in(stranger.token("viewer", tenant="*")["token"])
    words = text(stranger.get("/"))
    assert "theirs" in words
    assert "voice" in words
    assert text(stranger.get("/pipelines/theirs?tenant=other"))
    assert stranger.get("/pipelines/theirs").status == 422


def test_a_failure_is_a_page_with_the_status_of_the_api(site):
    answer = site.get("/pipelines/none?tenant=default")
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert b"there is no pipeline" in answer.body


def test_an_address_that_makes_no_sense_is_told_so(site):
    for path in ("/?page=0", "/?only=most", "/node?need=lots", f"/?q={'x' * 999}"):
        assert site.get(path).status == 422, path


def test_assets_are_kept_for_good_under_the_address_that_pages_use(site):
    address = (
        re.search(rb'href="(/assets/warmline.css\?\w+)"', site.get("/").body).group(1).decode()
    )
    answer = site.plane.ask("GET", address, token=None)
    assert "immutable" in answer.headers["cache-control"]
    assert site.plane.ask("GET", "/assets/warmline.css", token=None).headers["cache-control"] == (
        "no-cache"
    )


def test_no_other_file_is_served(site):
    for name in ("nothing.css", "..%2ffront.py", "%2e%2e/front.py", "../front.py"):
        assert site.plane.ask("GET", f"/assets/{name}", token=None).status in (401, 404), name
