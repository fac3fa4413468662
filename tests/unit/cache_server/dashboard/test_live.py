import json

import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key
from cache_server.catalogue.tokens import Tokens
from cache_server.dashboard.actions import ACTIONS, Proven
from cache_server.dashboard.front import dashboard
from cache_server.dashboard.signing_in import SIGN_IN
from cache_server.http.api import Wiring
from cache_server.http.replicas import DataAddress
from cache_server.service.identities import Identities
from cache_server.store.ticket_keys import TicketKeys
from tests.fakes.control_plane import TOKEN
from tests.fakes.glances import NOW


class Heard:
    """An answer that goes on, read event by event."""

    def __init__(self, plane, path, token=TOKEN):
        self.connection = plane.connect()
        self.connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        self.answer = self.connection.getresponse()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def next(self):
        """Return the name and the data of the next event."""
        fields = {}
        while True:
            line = self.answer.readline().decode().rstrip("\n")
            name, _, value = line.partition(": ")
            if line:
                fields[name] = value
            elif "event" in fields:
                return fields["event"], fields["data"]


@pytest.fixture
def plane(stranger):
    return stranger.plane


def test_an_open_page_is_sent_the_parts_that_change(plane, bench):
    bench.put()
    bench.resolved()
    with Heard(plane, "/live") as stream:
        assert stream.answer.headers["content-type"].startswith("text/event-stream")
        assert json.loads(stream.next()[1]).keys() == {"summary", "cards"}
        bench.service.pipelines.pin(Key("default", "voice"), pinned=True)
        name, data = stream.next()
        assert name == "parts"
        assert json.loads(data).keys() == {"summary", "card-default/voice"}
        assert "pinned" in json.loads(data)["card-default/voice"]


def test_a_page_of_a_pipeline_that_is_removed_is_over(plane, bench):
    bench.put()
    bench.resolved()
    with Heard(plane, "/pipelines/voice/live?tenant=default") as stream:
        assert stream.next()[0] == "parts"
        bench.service.removal.remove(Key("default", "voice"), force=False)
        assert stream.next() == ("over", "unknown-pipeline")


def test_streams_end_with_the_node(plane, bench):
    with Heard(plane, "/node/live") as stream:
        assert stream.next()[0] == "parts"
        bench.service.end_fills()
        assert stream.next() == ("over", "ended")


def test_the_api_says_how_pipelines_stand_as_it_changes(plane, bench):
    bench.put()
    bench.resolved()
    with Heard(plane, "/v1/events") as stream:
        name, data = stream.next()
        assert (name, json.loads(data)["cache"]["state"]) == ("pipeline", "cold")
        bench.service.pipelines.pin(Key("default", "voice"), pinned=True)
        assert json.loads(stream.next()[1])["cache"]["pinned"]


def test_events_are_for_those_who_see_lists(stranger):
    token = stranger.token("replica")["token"]
    answer = stranger.plane.ask("GET", "/v1/events", token=token)
    assert (answer.status, answer.json["code"]) == (403, "forbidden")
    assert stranger.plane.ask("GET", "/v1/events", token=None).status == 401


def test_every_form_but_that_to_sign_in_has_to_be_proven(bench):
    registry = bench.service._registry
    wiring = Wiring(
        Identities(Tokens(registry), TOKEN, key=b"k" * 32, now=lambda: NOW),
        DataAddress(TicketKeys(bench.root.path), None, 1),
        Boots(registry),
        check_models=lambda *_: None,
    )
    routes = [
        each.original_route
        for each in iter_route_contexts(dashboard(bench.service, wiring).routes.routes)
    ]
    forms = {
        route.path: any(isinstance(d.call, Proven) for d in route.dependant.dependencies)
        for route in routes
        if isinstance(route, APIRoute) and route.methods - {"GET", "HEAD"}
    }
    assert forms.pop(SIGN_IN) is False
    assert len(forms) == len(ACTIONS) + 1
    assert all(forms.values()), forms
