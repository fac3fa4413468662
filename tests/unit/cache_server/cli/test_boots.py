import json

from cache_server.cli.phases import phases_table
from tests.fakes.boot_reports import boot_report

BOOT = boot_report(
    4.0,
    bytes=10**9,
    phases={"pull": (1.0, 3.0), "agent-start": (0.0, 1.0), "first-token": (4.0, 0.0)},
)


def report(plane, **fields: object) -> None:
    assert plane.ask("POST", "/v1/boots", BOOT | fields).status == 201


def test_phases_are_bars_on_one_axis_in_the_order_in_which_they_begin():
    columns = [list(map(str, column.cells)) for column in phases_table(BOOT).columns]
    assert columns[0] == ["agent-start", "pull", "first-token"]
    assert [len(bar.strip()) for bar in columns[3]] == [12, 38, 1]  # of 50; none is invisible
    assert [len(bar) - len(bar.lstrip()) for bar in columns[3]] == [0, 12, 49]


def test_a_boot_that_failed_says_so_without_colour(node, plane, bench):
    bench.put()
    report(plane, ok=False, reason="wrong bytes")
    assert node("boots")[1].splitlines()[-1].split()[-3:] == ["failed", "wrong", "bytes"]


def test_a_boot_without_phases_has_no_bars():
    assert phases_table(BOOT | {"phases": []}).row_count == 0


def test_the_last_boot_of_a_pipeline_is_shown_with_its_phases(node, plane, bench):
    bench.put()
    report(plane)
    for words in (("boots", "voice"), ("pipelines", "show", "voice")):
        said = node(*words)[1]
        assert "ready after 4.00 s, 1.0 GB from cache, 0.50 s of waiting for weights" in said
        assert "pull" in said
    assert "█" not in node("boots")[1]


def test_a_boot_that_failed_says_why(node, plane, bench):
    bench.put()
    report(plane, ok=False, reason="no progress for 30 s")
    assert "failed after 4.00 s" in node("boots", "voice")[1]
    assert "no progress for 30 s" in node("boots", "voice")[1]


def test_programs_get_the_reports_alone(node, plane, bench):
    bench.put()
    report(plane)
    assert json.loads(node("boots", "voice", "--json")[1])["boots"][0]["host"] == "gpu-1"
    assert "boots" not in json.loads(node("pipelines", "show", "voice", "--json")[1])


def test_who_may_not_see_reports_sees_the_pipeline_all_the_same(node, plane, bench, monkeypatch):
    bench.put()
    report(plane)
    token = plane.ask("POST", "/v1/tokens", {"role": "replica"}).json["token"]
    monkeypatch.setenv("CACHE_SERVER_ADMIN_TOKEN", token)
    code, out, err = node("pipelines", "show", "voice")
    assert (code, err) == (0, "")
    assert "voice" in out
    assert "ready after" not in out


def test_without_reports_it_says_so(node, bench):
    bench.put()
    assert node("boots")[1] == "no boots reported yet\n"
    assert node("boots", "voice")[1] == "no boots of voice reported yet\n"
