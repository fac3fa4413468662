"""Who opens what: every role, every page, own and foreign pipelines.

Complete over all routes of an application with pages: what is neither in the description of the
API nor in a table here fails a test.
"""

import pytest
from fastapi.routing import iter_route_contexts

from cache_server.core.access import Role
from tests.fakes.control_plane import ControlPlane
from tests.fakes.service import SOURCE
from tests.unit.cache_server.dashboard.conftest import Site

BODY = {"models": [{"name": "m", "source": SOURCE}]}
LOOK = {"admin", "deployer", "viewer", "viewer of all"}
CHANGE = {"admin", "deployer"}
PAGES = {
    "GET /": LOOK,
    "GET /live": LOOK,
    "GET /node": LOOK,
    "GET /node/live": LOOK,
    "GET /pipelines/{pipeline}": LOOK,
    "GET /pipelines/{pipeline}/live": LOOK,
    "GET /pipelines/{pipeline}/warm": CHANGE,
    "GET /pipelines/{pipeline}/refresh": CHANGE,
    "GET /pipelines/{pipeline}/pin": CHANGE,
    "GET /pipelines/{pipeline}/unpin": CHANGE,
    "GET /pipelines/{pipeline}/evict": CHANGE,
    "GET /v1/events": LOOK,
    "GET /openapi.json": LOOK,
}
FORMS = {  # taken from a page of a session alone: test_actions.py, test_signing_in.py
    "POST /pipelines/{pipeline}/warm",
    "POST /pipelines/{pipeline}/refresh",
    "POST /pipelines/{pipeline}/pin",
    "POST /pipelines/{pipeline}/unpin",
    "POST /pipelines/{pipeline}/evict",
    "POST /sign-out",
}
OPEN = {"GET /sign-in", "POST /sign-in", "GET /assets/{name}"}
OF_ONE = sorted(page for page in PAGES if "{pipeline}" in page)
ROLES = [*Role, "viewer of all"]


@pytest.fixture
def plane(stranger: Site) -> ControlPlane:
    for tenant in ("default", "other"):
        header = {"Warmline-Tenant": tenant}
        put = stranger.plane.ask("PUT", f"/v1/pipelines/of-{tenant}", BODY, headers=header)
        assert put.status == 201
    return stranger.plane


def token(site: Site, role: str) -> str:
    fields = {"tenant": "*"} if role == "viewer of all" else {}
    return site.token(role.partition(" ")[0], **fields)["token"]


def opened(plane: ControlPlane, page: str, text: str, name: str, tenant: str = "default") -> int:
    """Return the status of a page; a stream's is known before its end."""
    path = page.partition(" ")[2].replace("{pipeline}", name)
    connection = plane.connect()
    try:
        plane.send(connection, "GET", f"{path}?tenant={tenant}", token=text)
        return connection.getresponse().status
    finally:
        connection.close()


def test_the_tables_and_the_description_of_the_api_have_every_route(plane):
    described = plane.ask("GET", "/openapi.json").json["paths"]
    calls = {f"{m.upper()} {path}" for path, methods in described.items() for m in methods}
    routes = {
        f"{method} {context.path}"
        for context in iter_route_contexts(plane.app.routes)
        for method in context.original_route.methods
    }
    assert routes == calls | set(PAGES) | FORMS | OPEN


@pytest.mark.parametrize("role", ROLES)
def test_a_role_opens_its_pages_and_no_others(plane, stranger, role):
    text = token(stranger, role)
    for page, may in PAGES.items():
        assert opened(plane, page, text, "of-default") == (200 if role in may else 403), page


@pytest.mark.parametrize("role", ["deployer", "viewer"])
def test_a_foreign_pipeline_has_the_page_of_one_that_does_not_exist(plane, stranger, role):
    text = token(stranger, role)
    for page in OF_ONE:
        if role in PAGES[page]:
            foreign, absent = (opened(plane, page, text, f"of-{n}") for n in ("other", "nobody"))
            assert foreign == absent, page
            foreign, absent = (
                opened(plane, page, text, f"of-{n}", "other") for n in ("other", "nobody")
            )
            assert foreign == absent == 403, page


def test_without_a_token_nothing_opens_but_what_it_takes_to_sign_in(plane):
    for page in PAGES:
        assert opened(plane, page, "", "of-default") in (303, 401), page


def test_a_form_without_a_page_of_its_session_is_refused_to_an_admin_too(plane, site):
    for form in FORMS:
        path = form.partition(" ")[2].replace("{pipeline}", "of-default")
        assert site.post(f"{path}?tenant=default", {}).status == 403, form


def test_a_viewer_of_all_tenants_signs_out_too(plane, stranger):
    assert stranger.sign_in(token(stranger, "viewer of all")).status == 303
    answer = stranger.post("/sign-out", {"proof": stranger.proof()})
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
