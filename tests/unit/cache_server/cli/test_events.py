import json

import pytest

from cache_protocol.errors import ServerUnreachableError
from cache_server.cli import events
from cache_server.cli.events import parse
from cache_server.http.streams import Rhythm
from tests.fakes.control_plane import TOKEN, control_plane

COLD = {"state": "cold", "warm": False, "pinned": False, "hot": False, "size": 8, "filling": None}


class Node:
    """Says each of ``streams`` to one who asks, and then nothing more."""

    def __init__(self, *streams: list[tuple[str, str]]) -> None:
        self._streams = list(streams)

    def lines(self, _path: str):
        yield "retry: 2000"
        for name, data in self._streams.pop(0):
            yield from ("", ":", f"event: {name}", f"data: {data}")


def event(cache: dict, pipeline: str = "voice") -> tuple[str, str]:
    return "pipeline", json.dumps({"id": pipeline, "tenant": "default", "cache": cache})


GONE = ("removed", json.dumps({"id": "voice", "tenant": "default"}))
OVER = ("over", "ended")
AGAIN = ("over", "again")


@pytest.fixture
def said(capsys):
    def said(*streams: list[tuple[str, str]], json: bool = False) -> list[str]:
        events.events(Node(*streams), type("Args", (), {"json": json}))
        return capsys.readouterr().out.splitlines()

    return said


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        (COLD, "cold"),
        (COLD | {"state": "filling", "filling": {"size": 8, "filled": 4}}, "filling 50 %"),
        (COLD | {"state": "filling", "filling": {"size": None, "filled": 0}}, "filling"),
        (
            COLD | {"state": "warm", "warm": True, "filling": {"size": 8, "filled": 2}},
            "warm, refreshing 25 %",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_event_is_a_line_that_says_how_the_pipeline_stands(said, cache, words):
    (line,) = said([event(cache), OVER])
    assert line.split(" ", 2)[1:] == ["voice", words]


def test_a_pipeline_that_is_gone_is_said_to_be(said):
    assert said([GONE, OVER])[0].endswith("voice removed")


def test_programs_get_a_document_per_event(said):
    (line,) = said([event(COLD), OVER], json=True)
    assert json.loads(line) == {"event": "pipeline", **json.loads(event(COLD)[1])}


def test_a_stream_that_breaks_off_is_an_error(said):
    with pytest.raises(ServerUnreachableError, match="broke off"):
        said([event(COLD)])


def test_a_node_that_wants_to_be_asked_again_is_and_what_it_repeats_is_not_said_twice(said):
    lines = said(
        [event(COLD), event(COLD, "music"), AGAIN],
        [event(COLD), event(COLD | {"pinned": True}, "music"), GONE, event(COLD), OVER],
    )
    assert [line.split(" ", 2)[1:] for line in lines] == [
        ["voice", "cold"],
        ["music", "cold"],
        ["music", "cold, pinned"],
        ["voice", "removed"],
        ["voice", "cold"],
    ]


def test_what_is_no_event_is_passed_over():
    assert list(parse([":", "", "retry: 1", "event: a", "data: 1"])) == [("a", "1")]


@pytest.fixture
def plane(bench, run, monkeypatch):
    """A node whose streams end after two looks, as others do after an hour."""
    with control_plane(bench.service, rhythm=Rhythm(every=0.01, life=0.01)) as plane:
        monkeypatch.setenv("CACHE_SERVER_ADMIN_TOKEN", TOKEN)
        yield plane


def test_a_running_node_is_heard_for_many_hours_until_it_ends(bench, node, monkeypatch):
    bench.put()
    bench.resolved()
    hours: list[str] = []

    def hear(api, path):
        for line in original(api, path):
            if line == "data: again":
                hours.append(line)
            if len(hours) == 3:
                bench.service.end_fills()
            yield line

    original = events.NodeApi.lines
    monkeypatch.setattr(events.NodeApi, "lines", hear)
    code, out, err = node("events")
    assert (code, err, len(hours)) == (0, "", 3)
    assert [line.split()[1:] for line in out.splitlines()] == [["voice", "cold"]]
