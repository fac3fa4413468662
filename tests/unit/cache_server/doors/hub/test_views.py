"""How generations look is kept, within bounds."""

import asyncio

import pytest

from cache_server.core.content import ModelSpec
from cache_server.doors.holds import Holds
from cache_server.doors.hub import views
from cache_server.doors.hub.views import Views
from cache_server.doors.shelf import Shelf
from tests.fakes.service import VOICE
from tests.unit.cache_server.doors.hub.conftest import SOURCE


@pytest.fixture
def kept(warm):
    return Views(Shelf(warm.service, Holds(warm.service)))


def look(kept, generation):
    return asyncio.run(kept.of_id(VOICE, generation, "org/name"))[0]


def test_a_view_is_made_once(kept, warm):
    assert look(kept, warm.open()) is look(kept, warm.open())


def test_another_revision_s_name_makes_another_view_of_the_same_content(kept, warm):
    before = look(kept, warm.open())
    generation = warm.slot().current
    warm.put(ModelSpec("m", SOURCE, revision="v2"))
    after = asyncio.run(kept.of_id(VOICE, generation, "org/name"))[0]
    assert (before.names, after.names) == (frozenset(), {"v2"})


@pytest.mark.parametrize(("bound", "value"), [("KEPT", 1), ("KEPT_FILES", 3)])
def test_beyond_a_bound_the_one_that_was_asked_for_the_longest_ago_goes(
    kept, warm, origin, monkeypatch, bound, value
):
    monkeypatch.setattr(views, bound, value)
    first = warm.open()
    view = look(kept, first)
    origin.files["config.json"] = b"{}"
    assert warm.warm(refresh=True) is None
    look(kept, warm.open())
    assert look(kept, first) is not view
