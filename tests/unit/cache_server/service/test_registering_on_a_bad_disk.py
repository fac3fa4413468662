"""What is written to the database is known to the node, whatever fails right after."""

from collections import defaultdict

import pytest

from cache_protocol.errors import DiskError, QuotaError
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec, select
from cache_server.core.tenants import Quotas
from tests.fakes.service import SOURCE, VOICE

MODELS = (ModelSpec("m", SOURCE),)
OTHER = Key("default", "other")


@pytest.fixture
def bench(node):
    quotas = defaultdict(Quotas, default=Quotas(pipelines=1))
    with node(quotas=lambda tenant: quotas[tenant]) as bench:
        bench.reconciled()
        yield bench


@pytest.fixture
def bad_place(bench):
    """Have the disk refuse what the tenant's pipelines consist of."""
    place = bench.root.slots / "default"
    place.write_bytes(b"")
    return place


def put_found(bench, origin, key=VOICE):
    """Register as who has just asked the origin does."""
    found = (select(MODELS[0], origin.resolve()),)
    return bench.service.pipelines.put(key, MODELS, pinned=None, found=found)


@pytest.mark.usefixtures("bad_place")
def test_what_a_bad_disk_let_in_counts_against_the_quota(bench, origin):
    assert put_found(bench, origin)
    with pytest.raises(QuotaError):
        put_found(bench, origin, OTHER)


@pytest.mark.usefixtures("bad_place")
def test_what_the_disk_refused_is_said_of_the_pipeline(bench, origin):
    put_found(bench, origin)
    assert bench.cache()["last_error"]["code"] == DiskError.code


def test_once_the_disk_is_well_the_first_request_asks_again(bench, origin, bad_place):
    put_found(bench, origin)
    bad_place.unlink()
    assert bench.warm() is None
    assert bench.cache()["warm"]
