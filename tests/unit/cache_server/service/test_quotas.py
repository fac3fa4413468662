"""What a tenant may take of the node: bytes kept, pipelines, and fills at once."""

from collections import defaultdict
from contextlib import ExitStack
from datetime import timedelta

import pytest

from cache_protocol.errors import QuotaError
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.core.ledger import room
from cache_server.core.tenants import Quotas
from cache_server.service.fill_turns import MAX_WAITING
from cache_server.service.room import TenantFullError
from tests.fakes.data_node import settled
from tests.fakes.origin import MemoryOrigin
from tests.fakes.service import SOURCE, chunks

SIZE = room([2, len(chunks(2.5))])  # what one pipeline takes
ONE, TWO, THREE = (Key("small", name) for name in ("one", "two", "three"))
OTHER = Key("large", "other")
COLD = timedelta(hours=49).total_seconds()


@pytest.fixture
def quotas():
    return defaultdict(Quotas)


@pytest.fixture
def bench(node, quotas):
    with node(quotas=lambda tenant: quotas[tenant]) as bench:
        bench.reconciled()
        yield bench


def warm(bench, *keys):
    for key in keys:
        bench.put(key=key)
        assert bench.warm(key) is None
        bench.service.touch(key)
        bench.clock.advance(1)


def warm_keys(bench, tenant="small"):
    return [v["id"] for v in bench.service.figures.views(tenant) if v["cache"]["warm"]]


# Bytes.


def test_a_fill_above_the_quota_of_bytes_is_refused_with_the_numbers(bench, quotas):
    quotas["small"] = Quotas(bytes=SIZE)
    warm(bench, ONE)
    bench.put(key=TWO)
    error = bench.warm(TWO)
    assert isinstance(error, TenantFullError)
    assert error.code == "quota"
    wanted = {"needed": SIZE, "used": SIZE, "limit": SIZE, "hot": SIZE}
    assert wanted.items() <= error.numbers.items()
    assert bench.service.figures.status()["used"] == SIZE


def test_warming_above_the_quota_is_refused_at_once_where_the_size_is_known(bench, quotas):
    quotas["small"] = Quotas(bytes=SIZE - 1)
    bench.put(key=ONE)
    bench.resolved(ONE)
    with pytest.raises(TenantFullError):
        bench.service.warm(ONE, refresh=False)


def test_a_tenant_makes_room_among_its_own_cold_slots(bench, quotas):
    quotas["small"] = Quotas(bytes=2 * SIZE)
    warm(bench, ONE, TWO, OTHER)
    bench.clock.advance(COLD)
    warm(bench, THREE)
    assert warm_keys(bench) == ["three", "two"]
    assert warm_keys(bench, "large") == ["other"]


def test_nothing_of_another_tenant_goes_for_a_quota(bench, quotas):
    quotas["small"] = Quotas(bytes=SIZE - 1)
    warm(bench, OTHER)
    bench.clock.advance(COLD)
    bench.put(key=ONE)
    assert isinstance(bench.warm(ONE), TenantFullError)
    assert warm_keys(bench, "large") == ["other"]


def test_what_a_tenant_gives_up_counts_for_the_room_of_the_node_too(node, quotas):
    quotas["small"] = Quotas(bytes=SIZE)
    with node(quotas=lambda tenant: quotas[tenant], capacity=2 * SIZE) as bench:
        bench.reconciled()
        warm(bench, OTHER, ONE)  # the other one is older, and would go first
        bench.clock.advance(COLD)
        warm(bench, TWO)
        assert warm_keys(bench) == ["two"]
        assert warm_keys(bench, "large") == ["other"]


def test_another_tenant_fills_on_while_one_is_at_its_quota(bench, quotas):
    quotas["small"] = Quotas(bytes=0)
    bench.put(key=ONE)
    assert isinstance(bench.warm(ONE), TenantFullError)
    warm(bench, OTHER)


def test_a_refresh_above_the_quota_keeps_the_old_content_warm(bench, quotas, origin):
    quotas["small"] = Quotas(bytes=SIZE)
    warm(bench, ONE)
    old = bench.open(ONE)
    origin.files["w.dat"] = chunks(2.5, seed=3)
    assert isinstance(bench.warm(ONE, refresh=True), TenantFullError)
    assert bench.open(ONE) is old


def test_after_a_restart_a_tenant_has_what_lies_on_disk(node, quotas):
    with node() as bench:
        warm(bench, ONE)
    quotas["small"] = Quotas(bytes=SIZE)
    with node(quotas=lambda tenant: quotas[tenant]) as bench:
        bench.reconciled()
        bench.put(key=TWO)
        assert isinstance(bench.warm(TWO), TenantFullError)


# Pipelines.


def test_one_pipeline_more_than_the_quota_is_refused_and_registers_nothing(bench, quotas):
    quotas["small"] = Quotas(pipelines=1)
    bench.put(key=ONE)
    with pytest.raises(QuotaError, match="tenant small has 1 pipelines, and its quota is 1"):
        bench.put(key=TWO)
    assert [v["id"] for v in bench.service.figures.views("small")] == ["one"]


def test_at_the_quota_a_pipeline_can_still_be_changed_and_replaced_by_another(bench, quotas):
    quotas["small"] = Quotas(pipelines=1)
    bench.put(key=ONE)
    bench.put(ModelSpec("renamed", SOURCE), key=ONE)
    bench.service.removal.remove(ONE, force=False)
    assert bench.put(key=TWO)


# Fills.


@pytest.fixture
def slow():
    return MemoryOrigin({"w.dat": chunks(0.5)})


@pytest.fixture
def filling(node, quotas, slow):
    """A node on which every fill of ``file:///slow`` waits for the end of the test."""
    with ExitStack() as stack:
        bench = stack.enter_context(
            node({"file:///slow": slow}, quotas=lambda tenant: quotas[tenant])
        )
        bench.reconciled()
        stack.enter_context(slow.held())
        yield bench


def begin(bench, key):
    """Begin a fill that waits; return once it is laid out."""
    bench.put(ModelSpec("m", "file:///slow"), key=key)
    bench.open(key)


def test_a_fill_beyond_the_quota_waits_and_its_replicas_have_a_manifest(filling, quotas, slow):
    quotas["small"] = Quotas(fills=1)
    begin(filling, ONE)
    slow.wait_until_stalled()
    begin(filling, TWO)
    turns = filling.service._filling._turns._turns
    assert settled(lambda: [w.tenant for w in turns._waiting] == ["small"])
    assert turns._taken == {"small": 1}


def test_a_fill_that_waits_goes_when_its_tenant_gets_a_larger_quota(filling, quotas):
    quotas["small"] = Quotas(fills=1)
    begin(filling, ONE)
    begin(filling, TWO)
    turns = filling.service._filling._turns._turns
    assert settled(lambda: turns._waiting)
    quotas["small"] = Quotas(fills=2)
    assert settled(lambda: turns._taken == {"small": 2})


def test_other_tenants_fill_while_one_waits_for_its_own(filling, quotas):
    quotas["small"] = Quotas(fills=1)
    for key in (ONE, TWO, THREE):
        begin(filling, key)
    warm(filling, OTHER)


def test_a_fill_that_waited_goes_on_when_the_one_before_it_is_over(node, quotas):
    quotas["small"] = Quotas(fills=1)
    with node(quotas=lambda tenant: quotas[tenant]) as bench:
        bench.reconciled()
        for key in (ONE, TWO, THREE):
            bench.put(key=key)
            bench.open(key)
        for key in (ONE, TWO, THREE):
            assert bench.settle(key) is None
        assert warm_keys(bench) == ["one", "three", "two"]


def test_more_fills_than_may_wait_are_refused(filling, quotas, monkeypatch):
    monkeypatch.setattr("cache_server.service.fill_turns.MAX_WAITING", 1)
    quotas["small"] = Quotas(fills=1)
    begin(filling, ONE)
    begin(filling, TWO)
    with pytest.raises(QuotaError, match="2 fills that run or wait, and its quota is 2"):
        begin(filling, THREE)
    filling.service.ensure(ONE).result()  # who joins is not one more


def test_without_a_quota_too_there_is_an_end_to_what_may_wait(filling, monkeypatch):
    monkeypatch.setattr("cache_server.service.fill_turns.MAX_OF_TENANT", 2)
    begin(filling, ONE)
    begin(filling, TWO)
    with pytest.raises(QuotaError, match="2 fills that run or wait"):
        begin(filling, THREE)


def test_a_tenant_without_fills_is_refused_at_once(bench, quotas):
    assert MAX_WAITING > 0
    quotas["small"] = Quotas(fills=0)
    bench.put(key=ONE)
    with pytest.raises(QuotaError):
        bench.service.warm(ONE, refresh=False)


def test_a_fill_that_is_evicted_while_it_waits_leaves_the_line(filling, quotas):
    quotas["small"] = Quotas(fills=1)
    begin(filling, ONE)
    begin(filling, TWO)
    filling.service.removal.evict(TWO, force=True)
    assert filling.service._filling._turns._turns._waiting == []
