import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.boot_stats import (
    EARLIER,
    FEWEST_EARLIER,
    LATEST,
    UNKNOWN,
    Group,
    find_regression,
    percentile,
    spread,
    summarise,
)


def boot(time=10.0, /, *, pipeline="voice", ok=True, wait=0.0, **phases):
    """A report: ``phases`` are seconds by name, one after the other."""
    named, at = [], 0.0
    for name, seconds in phases.items():
        named.append({"name": name.replace("_", "-"), "start": at, "seconds": seconds})
        at += seconds
    return {
        "tenant": "default",
        "pipeline": pipeline,
        "region": "eu-1",
        "start_path": "cold",
        "ok": ok,
        "phases": named,
        "source": "cache",
        "weight_wait": wait,
        "time_to_ready": time,
    }


def history(now, before, *, latest=LATEST, earlier=EARLIER):
    return [boot(sum(now.values()), **now)] * latest + [
        boot(sum(before.values()), **before)
    ] * earlier


def test_pipelines_of_one_name_in_two_tenants_are_two():
    reports = [boot(), {**boot(), "tenant": "other"}]
    assert [s.group.tenant for s in summarise(reports)] == ["default", "other"]


def test_groups_are_apart_by_pipeline_region_and_start_path():
    reports = [
        boot(),
        boot(pipeline="tts"),
        {**boot(), "region": "us-1"},
        {**boot(), "start_path": "snapshot"},
    ]
    assert [s.group for s in summarise(reports)] == [
        Group("default", "tts", "eu-1", "cold"),
        Group("default", "voice", "eu-1", "cold"),
        Group("default", "voice", "eu-1", "snapshot"),
        Group("default", "voice", "us-1", "cold"),
    ]


def test_a_report_from_before_regions_were_noted_has_a_group_of_its_own():
    report = boot()
    del report["region"]
    assert summarise([report])[0].group.region == UNKNOWN


def test_boots_that_failed_are_counted_and_their_times_are_not():
    (stats,) = summarise([boot(5.0), boot(500.0, ok=False)])
    assert (stats.boots, stats.failed) == (2, 1)
    assert stats.time_to_ready.max == 5.0


def test_without_a_good_boot_there_are_no_times():
    (stats,) = summarise([boot(ok=False)])
    assert stats.time_to_ready is None
    assert stats.phases == {}


def test_boots_are_counted_by_who_served_the_bytes():
    (stats,) = summarise([boot(), boot(), {**boot(), "source": "origin"}])
    assert stats.sources == {"cache": 2, "origin": 1}


def test_phases_come_in_the_order_in_which_they_begin():
    (stats,) = summarise([boot(manifest=1.0, pull=2.0, load=3.0)] * 3)
    assert list(stats.phases) == ["manifest", "pull", "load"]
    assert stats.phases["load"].p50 == 3.0


def test_a_percentile_lies_between_its_two_neighbours():
    ordered = [1.0, 2.0, 3.0, 4.0]
    assert [percentile(ordered, share) for share in (0, 0.5, 1)] == [1.0, 2.5, 4.0]


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=50))
def test_percentiles_rise_and_stay_within_the_values(values):
    found = spread(values)
    assert min(values) <= found.p50 <= found.p90 <= found.p99 <= found.max == max(values)


def test_a_regression_names_the_phase_that_grew():
    found = find_regression(history({"pull": 4.0, "load": 9.0}, {"pull": 4.0, "load": 6.0}))
    assert (found.before, found.now, found.growth) == (10.0, 13.0, 3.0)
    assert (found.phase, found.phase_before, found.phase_now) == ("load", 6.0, 9.0)


def test_a_pull_is_the_cause_of_the_wait_for_weights():
    before = {"pull": 4.0, "weight_wait": 1.0}
    found = find_regression(history({"pull": 9.0, "weight_wait": 6.0}, before))
    assert found.phase == "pull"


def test_a_pull_that_grew_behind_the_engines_own_start_is_not_what_made_it_slower():
    before = {"pull": 4.0, "weight_wait": 0.1, "load": 2.0}
    found = find_regression(history({"pull": 9.0, "weight_wait": 0.1, "load": 4.0}, before))
    assert found.phase == "load"


def test_a_new_phase_is_one_that_grew():
    found = find_regression(history({"pull": 4.0, "warm_up": 5.0}, {"pull": 4.0}))
    assert (found.phase, found.phase_before, found.phase_now) == ("warm-up", 0.0, 5.0)


def test_reports_without_phases_are_slower_all_the_same():
    found = find_regression([boot(20.0)] * LATEST + [boot(10.0)] * EARLIER)
    assert (found.now, found.phase) == (20.0, None)


@pytest.mark.parametrize(
    ("latest", "earlier"), [(LATEST - 1, 0), (LATEST, FEWEST_EARLIER - 1), (0, 0)]
)
def test_too_few_boots_are_no_regression(latest, earlier):
    assert (
        find_regression(history({"load": 99.0}, {"load": 1.0}, latest=latest, earlier=earlier))
        is None
    )


def test_only_the_fifty_before_count():
    slow, fast = {"load": 20.0}, {"load": 10.0}
    assert find_regression(history(slow, slow) + history(fast, fast)) is None


def test_growth_that_nobody_feels_is_none():
    assert find_regression(history({"load": 0.3}, {"load": 0.15})) is None
    assert find_regression(history({"load": 105.0}, {"load": 100.0})) is None


def test_faster_boots_are_none():
    assert find_regression(history({"load": 1.0}, {"load": 9.0})) is None


def test_boots_that_failed_are_no_part_of_a_comparison():
    reports = [boot(99.0, ok=False)] * LATEST + history({"load": 5.0}, {"load": 5.0})
    assert summarise(reports)[0].regression is None


def test_chance_is_seldom_taken_for_a_regression():
    dice = random.Random(1)
    looks = [
        [boot(dice.lognormvariate(2.3, 0.5), load=1.0) for _ in range(LATEST + EARLIER)]
        for _ in range(300)
    ]
    assert sum(find_regression(look) is not None for look in looks) <= 2


def test_half_as_slow_again_is_seen_through_noise():
    dice = random.Random(1)

    def look():
        return [
            boot(dice.lognormvariate(2.3, 0.15) * (1.5 if number < LATEST else 1.0), load=1.0)
            for number in range(LATEST + EARLIER)
        ]

    assert all(find_regression(look()) for _ in range(100))
