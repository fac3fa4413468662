"""Who shares a look with whom."""

from dataclasses import replace

import pytest

from cache_protocol.errors import UnknownPipelineError
from cache_server.catalogue.registry import Key
from cache_server.core.access import DEFAULT_TENANT, ROOT, Identity, Role
from cache_server.dashboard.listing import Query
from cache_server.dashboard.looks import Looks
from cache_server.dashboard.parts import Part
from cache_server.http.access import Caller

KEY = Key(DEFAULT_TENANT, "voice")


class Page:
    """Notes for whom it is rendered."""

    def __init__(self):
        self.asked = []

    def parts(self, *asked):
        self.asked.append(asked)
        return [Part("part", str(len(self.asked)))]


@pytest.fixture
def page():
    return Page()


@pytest.fixture
def looks(page):
    return Looks((page, page, page), lambda _tenant: [])


def caller(role=Role.VIEWER, token="a", **more):  # noqa: S107 - the name of one
    return Caller(Identity(token, DEFAULT_TENANT, role, **more), DEFAULT_TENANT)


def test_all_who_see_the_same_share_one_look(looks, page):
    seen = [looks.at_pipeline(caller(token=token), KEY)() for token in "abc"]
    assert seen[0] is seen[1] is seen[2]
    assert len(page.asked) == 1


@pytest.mark.parametrize(
    "other",
    [
        caller(Role.DEPLOYER),
        caller(pipelines=frozenset({"voice"})),
        replace(caller(), tenant="*"),
        Caller(ROOT, DEFAULT_TENANT),
    ],
    ids=["may change", "reaches less", "of all tenants", "admin"],
)
def test_who_sees_something_else_has_a_look_of_their_own(looks, page, other):
    for look in (looks.at_list, looks.at_pipeline, looks.at_node):
        about = {looks.at_list: Query(), looks.at_pipeline: KEY, looks.at_node: None}[look]
        assert look(caller(), about)() != look(other, about)()
    assert len(page.asked) == 6


def test_who_asks_for_something_else_has_a_look_of_their_own(looks, page):
    looks.at_list(caller(), Query())()
    looks.at_list(caller(), Query(page=2))()
    looks.at_node(caller(), None)()
    looks.at_node(caller(), 1)()
    assert len(page.asked) == 4


def test_no_page_is_rendered_for_a_token_of_somebody_s(looks, page):
    looks.at_list(caller(token="secret-id"), Query())()
    assert page.asked[0][0].identity.id == ""


def test_what_is_gone_is_gone_for_everybody(looks, page):
    def gone(*_):
        raise UnknownPipelineError("there is no pipeline 'voice'")

    page.parts = gone
    for token in "ab":
        with pytest.raises(UnknownPipelineError):
            looks.at_pipeline(caller(token=token), KEY)()
