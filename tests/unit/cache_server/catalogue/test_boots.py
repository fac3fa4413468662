from datetime import UTC, datetime, timedelta

import pytest

from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key, Registry

NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def registry(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path}/c.db")
    yield registry
    registry.close()


def add(boots, pipeline, number, tenant="default"):
    boots.add(Key(tenant, pipeline), {"pipeline": pipeline, "number": number}, NOW)


def numbers(boots, pipeline=None, limit=10, tenant="default"):
    return [
        b["number"] for b in boots.last(tenant, None if pipeline is None else {pipeline}, limit)
    ]


def test_the_newest_report_comes_first(registry):
    boots = Boots(registry)
    for number in range(3):
        add(boots, "voice", number)
    assert numbers(boots, "voice") == [2, 1, 0]
    assert numbers(boots, "voice", limit=1) == [2]
    assert boots.last("default", {"voice"}, 1)[0]["received"] == NOW.isoformat()


def test_each_pipeline_keeps_its_own_last_ones(registry):
    boots = Boots(registry, kept=2)
    add(boots, "other", 99)
    for number in range(5):
        add(boots, "voice", number)
    assert numbers(boots, "voice") == [4, 3]
    assert numbers(boots, "other") == [99]
    assert numbers(boots) == [4, 3, 99]


def test_tenants_do_not_see_each_others(registry):
    boots = Boots(registry)
    add(boots, "voice", 1, tenant="a")
    assert numbers(boots, "voice", tenant="b") == []


def test_reports_survive_a_restart(registry, tmp_path):
    add(Boots(registry), "voice", 1)
    again = Registry(f"sqlite:///{tmp_path}/c.db")
    assert numbers(Boots(again), "voice") == [1]
    again.close()


def test_what_is_too_old_goes_when_others_come(registry):
    boots = Boots(registry, kept_for=timedelta(days=1))
    add(boots, "voice", 1)
    boots.add(Key("default", "tts"), {"number": 2}, NOW + timedelta(days=2))
    assert numbers(boots) == [2]


def test_what_is_as_old_as_may_be_stays(registry):
    boots = Boots(registry, kept_for=timedelta(days=1))
    add(boots, "voice", 1)
    boots.add(Key("default", "tts"), {"number": 2}, NOW + timedelta(days=1))
    assert numbers(boots) == [2, 1]


def test_many_names_do_not_keep_more_than_the_whole_may(registry):
    boots = Boots(registry, kept_in_all=3)
    for number in range(5):
        add(boots, f"name-{number}", number)
    assert numbers(boots) == [4, 3, 2]


def test_a_tenant_that_reports_without_end_pushes_out_its_own(registry):
    boots = Boots(registry, kept_in_all=5)
    for number in range(2):
        add(boots, "voice", number)
    for number in range(10):
        add(boots, f"name-{number}", number, tenant="greedy")
    assert numbers(boots) == [1, 0]
    assert numbers(boots, tenant="greedy") == [9, 8, 7]


def test_the_last_of_each_pipeline_are_had_at_once(registry):
    boots = Boots(registry)
    add(boots, "tts", 99)
    add(boots, "voice", 98, tenant="other")
    for number in range(3):
        add(boots, "voice", number)
    found = boots.last_of_each("default", None, 2)
    assert [report["number"] for report in found] == [2, 1, 99]
    assert [r["number"] for r in boots.last_of_each("default", {"tts"}, 2)] == [99]
