import json

from cache_server.cli.boot_stats import stats_table
from tests.fakes.boot_reports import boot_report

BOOT = boot_report()
SPREAD = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0}
GROUP = {
    "tenant": "default",
    "pipeline": "voice",
    "region": "eu",
    "start_path": "cold",
    "boots": 12,
    "failed": 0,
    "sources": {"cache": 12},
    "time_to_ready": SPREAD,
    "weight_wait": SPREAD,
    "phases": [],
    "regression": None,
}


def cells(group: dict) -> list[str]:
    return [str(next(iter(column.cells))) for column in stats_table([group]).columns]


def test_a_group_of_boots_is_a_row_of_percentiles():
    expected = ["voice", "eu", "cold", "12", "0", "1.00 s", "2.00 s", "3.00 s", "1.00 s", ""]
    assert cells(GROUP) == expected


def test_what_became_slower_is_said_with_the_phase_that_grew():
    regression = {"before": 2.0, "now": 5.5, "phase": "pull", "phase_before": 1, "phase_now": 4}
    assert cells({**GROUP, "regression": regression})[-1] == "slower, 2.00 s to 5.50 s: pull"


def test_boots_of_which_none_was_ok_have_no_times():
    assert cells({**GROUP, "time_to_ready": None, "weight_wait": None})[5:9] == [""] * 4


def test_the_stats_of_a_node_are_shown_and_given_to_programs(node, plane, bench):
    assert node("boots", "--stats")[1] == "no boots reported yet\n"
    bench.put()
    assert plane.ask("POST", "/v1/boots", BOOT).status == 201
    assert "voice" in node("boots", "voice", "--stats")[1]
    assert json.loads(node("boots", "--stats", "--json")[1])["stats"][0]["boots"] == 1
