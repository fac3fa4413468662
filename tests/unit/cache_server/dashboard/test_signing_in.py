import pytest

from cache_server.dashboard.front import dashboard
from cache_server.dashboard.signing_in import safe_place
from cache_server.http.sessions import COOKIE
from tests.fakes.control_plane import TOKEN, control_plane


def test_a_browser_that_is_not_known_is_sent_to_sign_in_and_comes_back(stranger):
    answer = stranger.get("/pipelines/voice?tenant=default")
    assert answer.status == 303
    assert answer.headers["location"] == "/sign-in?to=%2Fpipelines%2Fvoice%3Ftenant%3Ddefault"
    back = stranger.sign_in(to="/pipelines/voice?tenant=default")
    assert (back.status, back.headers["location"]) == (303, "/pipelines/voice?tenant=default")


def test_whoever_is_no_browser_is_told_what_the_api_tells(stranger):
    answer = stranger.plane.ask("GET", "/", token=None)
    assert (answer.status, answer.json["code"]) == (401, "unauthorized")


def test_a_session_is_a_cookie_that_scripts_and_other_sites_do_not_get(stranger):
    flags = stranger.sign_in().headers["set-cookie"].split("; ")
    assert flags[0].startswith(f"{COOKIE}=v1.admin.")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(flags)
    assert TOKEN not in flags[0]


def test_a_wrong_token_is_refused_on_the_page_and_counted(stranger):
    answers = [stranger.sign_in("wl_wrong_x") for _ in range(25)]
    assert answers[0].status == 401
    assert b"nobody has this token" in answers[0].body
    assert answers[-1].status == 429
    assert stranger.sign_in().status == 303


def test_a_token_that_only_reads_weights_sees_no_pages(stranger):
    answer = stranger.sign_in(stranger.token("replica")["token"])
    assert answer.status == 403
    assert b"reads weights and sees no pages" in answer.body
    assert "set-cookie" not in answer.headers


def test_signing_in_from_another_site_is_refused(stranger):
    assert stranger.sign_in(Origin="https://evil.example").status == 403


def test_signing_out_takes_the_cookie_away(site):
    answer = site.post("/sign-out", {"proof": site.proof()})
    assert answer.headers["location"] == "/sign-in"
    assert f'{COOKIE}=""; ' in answer.headers["set-cookie"]


def test_signing_out_needs_a_form_of_this_session(site):
    assert site.post("/sign-out", {"proof": "x"}).status == 403


def test_a_session_ends_at_once_with_its_token(stranger):
    made = stranger.token("viewer")
    stranger.sign_in(made["token"])
    assert stranger.get("/").status == 200
    stranger.plane.ask("DELETE", f"/v1/tokens/{made['id']}")
    assert stranger.get("/").status == 303


def test_a_session_looks_at_the_api_and_changes_nothing_on_it(site):
    assert site.get("/v1/status").status == 200
    assert site.post("/v1/scrub", {}).json["code"] == "forbidden"


def test_a_token_wins_over_a_cookie(site):
    answer = site.get("/v1/status", Authorization="Bearer wrong")
    assert answer.status == 401


def test_nobody_is_sent_to_another_site(stranger):
    for to in ("https://evil.example", "//evil.example", "/\\evil.example", "evil", "", "/\t/evil"):
        assert safe_place(to) == "/"
        assert stranger.sign_in(to=to).headers["location"] == "/"
    assert safe_place("/" + "x" * 3000) == "/"


def test_with_auth_off_there_is_nothing_to_sign_in_to(bench):
    with control_plane(bench.service, pages=dashboard, auth=False) as plane:
        answer = plane.ask("GET", "/", token=None)
        assert answer.status == 200
        assert b"Sign out" not in answer.body


def test_with_auth_off_a_site_that_points_its_name_here_gets_nothing(bench):
    with control_plane(bench.service, pages=dashboard, auth=False) as plane:
        strange = ("evil.example", "127.0.0.1.evil.example", "10.0.0.1", "evil.example:99999", "[")
        for host in ("evil.example:8080", *strange):
            answer = plane.ask("GET", "/", token=None, headers={"Host": host})
            assert (answer.status, answer.json["code"]) == (403, "forbidden")
        for host in ("localhost", "localhost:8080", "[::1]:8080", "node.localhost", "127.0.0.2"):
            assert plane.ask("GET", "/", token=None, headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "said",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_with_auth_off_no_other_site_can_have_a_browser_ask(bench, said):
    with control_plane(bench.service, pages=dashboard, auth=False) as plane:
        answer = plane.ask("POST", "/v1/scrub", token=None, headers=said)
        assert (answer.status, answer.json["code"]) == (403, "forbidden")


def test_with_auth_off_a_link_to_a_page_may_stand_anywhere(bench):
    led = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    with control_plane(bench.service, pages=dashboard, auth=False) as plane:
        assert plane.ask("GET", "/", token=None, headers=led).status == 200


def test_an_origin_that_is_none_is_another_one(stranger):
    assert stranger.sign_in(Origin="http://[").status == 403


def test_a_stranger_sends_no_more_than_a_form(stranger):
    assert stranger.sign_in("x" * 5000).status == 413
