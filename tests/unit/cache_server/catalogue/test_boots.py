from datetime import UTC, datetime

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
