import json

import pytest
from rich.console import Console

from benchmarks import harness
from benchmarks.children import ChildError
from benchmarks.harness import Outcome, Row, SkippedError, at_least, at_most


def measured(value):
    return Row("row", "a row", at_least(0.85), lambda _: Outcome(value, "ours", "theirs"))


def raising(error):
    def measure(_):
        raise error

    return Row("row", "a row", at_least(0.85), measure)


def run(*rows):
    return harness.run(rows, None, Console(quiet=True))


@pytest.mark.parametrize(("value", "met"), [(0.85, "yes"), (0.84, "no")])
def test_a_promise_is_kept_at_its_limit_and_not_below(value, met):
    assert [result.met for result in run(measured(value))] == [met]


def test_at_most_is_kept_below_its_limit():
    assert at_most(64, "MB").holds(-1)
    assert not at_most(64, "MB").holds(64.1)


def test_a_row_that_cannot_run_here_is_skipped_and_says_why():
    (result,) = run(raising(SkippedError("nginx is not installed")))
    assert (result.met, result.skipped) == ("skipped", "nginx is not installed")


def test_a_row_that_breaks_stops_no_other_row():
    broken, after = run(raising(ChildError("it fell over")), measured(1))
    assert (broken.met, after.met) == ("broken", "yes")
    assert "it fell over" in broken.broken


def test_the_two_sides_take_turns_in_going_first():
    order = []
    harness.interleave(lambda: order.append("a") or 1, lambda: order.append("b") or 2, 3)
    assert "".join(order) == "abbaab"


def test_a_speed_ratio_above_one_means_that_ours_is_faster():
    assert harness.speed_ratio(lambda: 1.0, lambda: 3.0, 3, 10**9).value == 3.0


def test_the_median_of_the_rounds_counts():
    seconds = iter([1.0, 100.0, 1.0])
    assert harness.speed_ratio(lambda: next(seconds), lambda: 2.0, 3, 10**9).value == 2.0


def test_json_holds_every_row_and_whether_it_is_met(tmp_path):
    path = tmp_path / "out.json"
    harness.write_json(run(measured(1), raising(SkippedError("no"))), {"size": "1 GB"}, path)
    written = json.loads(path.read_text())
    assert written["size"] == "1 GB"
    assert [(r["met"], r["why"]) for r in written["rows"]] == [("yes", ""), ("skipped", "no")]
