"""What an operator sees and does, in a real browser."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from cache_protocol.errors import OriginDeniedError
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.http.streams import Rhythm
from tests.fakes.control_plane import TOKEN

VOICE = "/pipelines/voice?tenant=default"
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
EVERYWHERE = ["/", VOICE, "/node?need=100MB", "/pipelines/voice/evict?tenant=default"]


def chip(page):
    return page.locator(".chip").first


def is_live(page):
    """Return when the page hears of changes."""
    page.wait_for_selector("html[data-fresh]")


def test_the_chip_goes_from_cold_over_filling_to_warm_by_itself(page, bench, origin):
    page.goto("/")
    is_live(page)
    expect(chip(page)).to_have_text("cache: cold")
    with origin.held():
        bench.service.warm(bench.slot().registration.key, refresh=False)
        expect(chip(page)).to_have_text(re.compile(r"cache: filling( \d+ %)?"))
        expect(page.locator(".card progress")).to_be_visible()
    assert bench.settle() is None
    expect(chip(page)).to_have_text("cache: warm")
    expect(page.locator(".card progress")).to_have_count(0)


def test_a_file_that_is_on_its_way_shows_how_far_it_is(page, bench, origin):
    page.goto(VOICE)
    is_live(page)
    with origin.held():
        bench.service.warm(bench.slot().registration.key, refresh=False)
        expect(page.get_by_role("progressbar", name="w.dat")).to_be_visible()
    assert bench.settle() is None
    expect(page.get_by_text("verified")).to_have_count(2)


def test_a_pipeline_is_warmed_and_evicted_from_its_page(page, bench):
    page.goto(VOICE)
    page.get_by_role("link", name="Warm", exact=True).click()
    page.get_by_role("button", name="Warm it").click()
    expect(page.get_by_role("status").first).to_have_text("The fill has been asked for.")
    expect(chip(page)).to_have_text("cache: warm")
    page.get_by_role("link", name="Evict").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("everything is pulled anew")
    dialog.get_by_role("button", name="Evict it").click()
    expect(chip(page)).to_have_text("cache: cold")
    assert bench.cache()["state"] == "cold"


def test_leaving_a_question_changes_nothing_and_brings_the_focus_back(page, bench):
    bench.warm()
    page.goto(VOICE)
    page.get_by_role("link", name="Evict").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("link", name="Evict")).to_be_focused()
    assert bench.cache()["state"] == "warm"


def test_a_viewer_sees_no_actions(visitors, bench, role):
    bench.warm()
    with visitors.visitor(role("viewer")["token"]) as page:
        page.goto(VOICE)
        expect(page.get_by_role("heading", name="voice")).to_be_visible()
        expect(page.get_by_role("navigation", name="Actions")).to_have_count(0)
        expect(page.locator("form:not(.who)")).to_have_count(0)


def test_a_start_appears_with_its_bars(page, booted):
    page.goto(VOICE)
    is_live(page)
    expect(page.locator("#boots .empty")).to_be_visible()
    booted()
    bar = page.locator(".bar").first
    expect(bar.locator("rect.phase")).to_have_count(6)
    expect(bar).to_contain_text("6.1 s")
    widths = [float(r.get_attribute("width")) for r in bar.locator("rect.phase").all()]
    assert max(widths) == pytest.approx(
        1000 * 5.0 / 6.1, abs=1
    )  # engine-import, of the whole start


def test_a_fill_that_failed_says_what_to_do(page, bench, origin):
    origin.deny(OriginDeniedError("403: gated"))
    page.goto(VOICE)
    is_live(page)
    bench.warm(refresh=True)
    expect(page.locator("#trouble")).to_contain_text("What to do: Look whether the secret")


def test_somebody_signs_in_with_a_token_and_out_again(visitors):
    with visitors.visitor(token=None) as page:
        page.goto(VOICE)
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="voice")).to_be_visible()
        assert page.evaluate("document.cookie") == ""
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        page.goto("/")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_page_that_is_open_closes_when_its_token_is_revoked(visitors, plane, role):
    made = role("viewer")
    with visitors.visitor(made["token"]) as page:
        page.goto("/")
        is_live(page)
        plane.ask("DELETE", f"/v1/tokens/{made['id']}")
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_page_stays_readable_when_its_node_ends(visitors, bench, plane):
    with visitors.visitor() as page:
        page.goto(VOICE)
        is_live(page)
        page.route("**/*", lambda route: route.abort())
        bench.service.end_fills()
        expect(page.locator("#live")).to_have_text("Not live: the node does not answer")
        expect(page.get_by_role("heading", name="voice")).to_be_visible()
    visitors.complaints.clear()  # of requests that nobody answers


@pytest.mark.parametrize("rhythm", [Rhythm(every=0.05, life=0.05)], ids=["short hours"])
def test_a_page_that_is_open_for_hours_stays_live_and_is_not_loaded_anew(page, bench):
    page.goto("/")
    is_live(page)
    page.evaluate("window.loaded = 'once'")
    for _ in range(3):
        page.wait_for_event("request", lambda request: "/live" in request.url)
    bench.service.pipelines.pin(bench.slot().registration.key, pinned=True)
    expect(page.locator(".card").get_by_text("pinned")).to_be_visible()
    assert page.evaluate("window.loaded") == "once"


def test_what_changes_while_somebody_types_is_shown_when_they_leave(page, bench):
    page.goto("/node")
    is_live(page)
    page.get_by_label("A dry run for a fill of").press_sequentially("5")
    bench.warm()
    expect(page.locator("#room")).to_contain_text("voice")
    expect(page.locator("#plan .victims")).to_have_count(0)
    page.get_by_label("A dry run for a fill of").press("Tab")
    expect(page.get_by_role("button", name="Show")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#plan .victims")).to_contain_text("voice")
    expect(page.get_by_label("A dry run for a fill of")).to_have_value("5")


def test_a_search_narrows_the_list_while_somebody_types(page, bench):
    bench.put(key=bench.slot().registration.key._replace(id="music"))
    page.goto("/")
    expect(page.locator(".card")).to_have_count(2)
    page.get_by_role("searchbox").press_sequentially("mus")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card h3")).to_have_text("music")
    expect(page).to_have_url(re.compile(r"\?q=mus"))


def test_all_can_be_read_and_done_without_a_script(visitors, bench, booted):
    bench.warm()
    booted()
    with visitors.visitor(java_script_enabled=False) as page:
        page.goto("/?q=voi")
        page.get_by_role("link", name="voice").click()
        expect(page.locator("rect.phase")).to_have_count(12)  # with the legend's
        page.get_by_role("link", name="Evict").click()
        page.get_by_role("button", name="Evict it").click()
        expect(chip(page)).to_have_text("cache: cold")


def test_the_keyboard_reaches_everything_in_order(page, bench):
    bench.warm()
    page.goto("/")
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim().split('\\n')[0]"))
        if reached[-1] == "voice":
            break
    assert reached[0] == "Skip to the content"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="voice")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_that_shuts_people_out(visitors, bench, booted, origin, scheme):
    bench.warm()
    booted(12)
    bench.service.pipelines.pin(bench.slot().registration.key, pinned=True)
    bench.service.touch(bench.slot().registration.key)
    origin.deny(OriginDeniedError("403: gated"))
    bench.warm(refresh=True)
    with visitors.visitor(color_scheme=scheme) as page:
        for path in [*EVERYWHERE, "/pipelines/none?tenant=default"]:
            page.goto(path)
            assert violations(page) == [], path
        page.goto(VOICE)
        page.get_by_role("link", name="Evict").click()
        page.get_by_role("dialog").wait_for()
        assert violations(page) == []
    with visitors.visitor(token=None, color_scheme=scheme) as page:
        page.goto("/")
        assert violations(page) == []
    visitors.complaints.clear()  # of a page that is not there: 404


def violations(page):
    found = Axe().run(page).response["violations"]
    return [(v["id"], [node["html"] for node in v["nodes"]]) for v in found]


def test_nothing_is_wider_than_a_phone(visitors, bench, booted):
    bench.warm()
    booted(3)
    with visitors.visitor(**PHONE) as page:
        for path in EVERYWHERE:
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path


def test_the_longest_names_are_not_wider_than_a_phone_either(visitors, bench, booted):
    key = Key("t" * 100, "p" * 100)
    bench.put(ModelSpec("m" * 100, "hf://org/" + "n" * 90, "r" * 255), key=key)
    bench.resolved(key)
    bench.warm()
    booted(1, ok=False, host="h" * 255, device="d" * 255, reason="w" * 4000, start_path="s" * 255)
    with visitors.visitor(**PHONE) as page:
        for path in [*EVERYWHERE, f"/pipelines/{key.id}?tenant={key.tenant}"]:
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        expect(page.locator("h1")).to_have_text(re.compile(key.id))
