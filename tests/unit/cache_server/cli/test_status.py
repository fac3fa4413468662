import json

from cache_server.catalogue.registry import Key
from cache_server.cli.status import SHOWN
from cache_server.core.content import ModelSpec
from tests.fakes.service import SOURCE


def put(bench, *names: str) -> None:
    for name in names:
        bench.put(ModelSpec("m", SOURCE), key=Key("default", name))


def test_status_shows_the_figures_and_how_each_pipeline_stands(node, bench):
    put(bench, "voice")
    bench.warm()
    bench.open()
    shown = node("status")[1]
    assert "capacity" in shown
    assert "ready" in shown
    assert "voice" in shown
    assert "warm, hot until" in shown


def test_the_status_for_programs_is_what_the_node_answers(node):
    assert json.loads(node("status", "--json")[1])["capacity"] == 50 * 2**20


def test_without_pipelines_the_status_says_how_to_register_one(node):
    assert "cache-server pipelines put" in node("status")[1]


def test_of_many_pipelines_those_with_an_error_come_first_and_the_rest_is_counted(node, bench):
    put(bench, *(f"p{n:03}" for n in range(SHOWN + 2)))
    broken = Key("default", "zebra")
    bench.put(ModelSpec("m", "file:///nowhere"), key=broken)
    bench.resolved(broken)
    lines = [line.split() for line in node("status")[1].splitlines()]
    names = [
        words[0] for words in lines if words and (words[0][1:].isdigit() or words[0] == "zebra")
    ]
    assert names[0] == "zebra"
    assert len(names) == SHOWN
    assert "and 3 more: cache-server pipelines ls" in node("status")[1]


def test_a_node_that_drains_says_so_in_status_and_health(node, bench):
    bench.service.drain()
    assert "draining" in node("status")[1]
    code, out, err = node("health")
    assert (code, out) == (8, "")
    assert "not ready: draining" in err
    assert node("health", "--live")[:2] == (0, "ok\n")


def test_health_says_ready_when_work_should_come(node, bench):
    assert node("health")[:2] == (0, "ready\n")
    assert json.loads(node("health", "--json")[1]) == {"status": "ready"}


def test_health_without_a_node_is_3(run):
    assert run("health", "--server", "http://127.0.0.1:1")[0] == 3
