import asyncio
import json
from dataclasses import replace

import pytest

from cache_protocol.errors import BusyError, UnknownPipelineError
from cache_server.core.access import ROOT
from cache_server.http.access import Caller
from cache_server.http.events import watch
from cache_server.http.recent import Recent
from cache_server.http.streams import Event, Rhythm, Streams
from tests.fakes.glances import NOW, filling, glance


def said(streams, look, *, most=20):
    """Return what a stream says until it ends, or has said ``most`` things."""

    async def listen():
        heard = []
        async for text in streams.open(ROOT, look).body_iterator:
            heard.append(text)
            if len(heard) == most:
                break
        return heard

    return asyncio.run(listen())


def streams(*, known=lambda _: True, ending=lambda: False, limit=10, **rhythm):
    return Streams(known, ending, Rhythm(**{"every": 0.0} | rhythm), limit=limit)


def test_a_stream_says_each_event_and_ends_with_the_node():
    looks = [[Event("a", "1"), Event("b", "2")], []]
    heard = said(streams(ending=lambda: not looks), lambda: looks.pop(0))
    assert heard == [
        "retry: 2000\n\n",
        "event: a\ndata: 1\n\nevent: b\ndata: 2\n\n",
        "event: over\ndata: ended\n\n",
    ]


def test_a_stream_ends_with_its_token():
    valid = [True, True, False]
    heard = said(streams(known=lambda _: valid.pop(0)), lambda: [Event("a", "1")])
    assert len(heard) == 4
    assert heard[-1] == "event: over\ndata: ended\n\n"


def test_a_stream_ends_when_what_it_looks_at_is_gone():
    def look():
        raise UnknownPipelineError("there is no pipeline 'x'")

    assert said(streams(), look)[-1] == "event: over\ndata: unknown-pipeline\n\n"


def test_a_stream_with_nothing_to_say_keeps_its_connection_open():
    assert said(streams(quiet=0.0), list, most=3) == ["retry: 2000\n\n", ":\n\n", ":\n\n"]


def test_a_stream_that_has_gone_on_for_long_ends_so_that_its_listener_asks_again():
    heard = said(streams(life=0.0), lambda: [Event("a", "1")])
    assert heard == ["retry: 2000\n\n", "event: over\ndata: again\n\n"]


def test_one_tenant_leaves_streams_for_others():
    few, other = streams(limit=4), replace(ROOT, tenant="other")

    async def open_all():
        mine = [few.open(ROOT, list).body_iterator for _ in range(2)]
        for stream in mine:
            await anext(stream)
        with pytest.raises(BusyError, match="2 of them of tenant default"):
            few.open(ROOT, list)
        few.open(other, list)
        for stream in mine:
            await stream.aclose()

    asyncio.run(open_all())


def test_there_are_no_more_streams_than_there_may_be():
    few = streams(limit=1)

    async def two():
        first = few.open(ROOT, list).body_iterator
        await anext(first)
        with pytest.raises(BusyError, match="1 streams"):
            few.open(ROOT, list)
        await first.aclose()
        few.open(ROOT, list)

    asyncio.run(two())


def test_everybody_who_watches_shares_one_look_a_second():
    looks, now = [], [0.0]
    recent = Recent(lambda tenant: looks.append(tenant) or [], clock=lambda: now[0])
    for _ in range(3):
        recent.of("default")
    recent.of("other")
    now[0] = 1.0
    recent.of("default")
    assert looks == ["default", "other", "default"]


def test_events_say_each_pipeline_once_then_what_changes_then_what_is_gone():
    state = [glance("a"), glance("b")]
    look = watch(Caller(ROOT, "default"), lambda _: state)
    assert [e.name for e in look()] == ["pipeline", "pipeline"]
    assert look() == []
    state[1] = glance("b", fill=filling(430, ends=NOW))
    (event,) = look()
    cache = json.loads(event.data)["cache"]
    assert cache["filling"] == {"size": 1000, "filled": 430}
    assert cache["eta"] == "2030-01-02T03:04:05Z"
    del state[0]
    assert look() == [Event("removed", '{"id": "a", "tenant": "default"}')]
