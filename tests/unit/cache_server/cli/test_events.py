import json
import threading

import pytest

from cache_protocol.errors import ServerUnreachableError
from cache_server.cli import events
from cache_server.cli.events import parse

COLD = {"state": "cold", "warm": False, "pinned": False, "hot": False, "size": 8, "filling": None}


class Node:
    """Says ``lines`` and then nothing more."""

    def __init__(self, *said: tuple[str, object]) -> None:
        self._said = said

    def lines(self, _path: str):
        yield "retry: 2000"
        for name, data in self._said:
            yield from ("", ":", f"event: {name}", f"data: {json.dumps(data)}")


def event(cache: dict) -> tuple[str, object]:
    return "pipeline", {"id": "voice", "tenant": "default", "cache": cache}


OVER = ("over", "ended")


@pytest.fixture
def said(capsys):
    def said(*what: tuple[str, object], json: bool = False) -> list[str]:
        events.events(Node(*what), type("Args", (), {"json": json}))
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
            "warm, next 25 %",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_event_is_a_line_that_says_how_the_pipeline_stands(said, cache, words):
    (line,) = said(event(cache), OVER)
    assert line.split(" ", 2)[1:] == ["voice", words]


def test_a_pipeline_that_is_gone_is_said_to_be(said):
    assert said(("removed", {"id": "voice", "tenant": "default"}), OVER)[0].endswith(
        "voice removed"
    )


def test_programs_get_a_document_per_event(said):
    (line,) = said(event(COLD), OVER, json=True)
    assert json.loads(line) == {"event": "pipeline", **event(COLD)[1]}


def test_a_stream_that_breaks_off_is_an_error(said):
    with pytest.raises(ServerUnreachableError, match="broke off"):
        said(event(COLD))


def test_what_is_no_event_is_passed_over():
    assert list(parse([":", "", "retry: 1", "event: a", "data: 1"])) == [("a", "1")]


def test_a_running_node_says_what_changes(plane, bench, node, monkeypatch):
    bench.put()
    token = plane.ask("POST", "/v1/tokens", {"role": "viewer"}).json
    monkeypatch.setenv("CACHE_SERVER_ADMIN_TOKEN", token["token"])
    lines: list[str] = []
    first = threading.Event()

    def hear(api, path):
        for line in original(api, path):
            lines.append(line)
            if line.startswith("data"):
                first.set()
            yield line

    original = events.NodeApi.lines
    monkeypatch.setattr(events.NodeApi, "lines", hear)
    # The stream ends with the token that opened it.
    ender = threading.Thread(
        target=lambda: first.wait(30) and plane.ask("DELETE", f"/v1/tokens/{token['id']}")
    )
    ender.start()
    code, out, err = node("events")
    ender.join()
    assert (code, err) == (0, "")
    assert "voice" in out.splitlines()[0]
