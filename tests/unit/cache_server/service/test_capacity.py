import os

import pytest

from cache_protocol.errors import CapacityError
from cache_server.catalogue.registry import Key
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, VOICE, chunks, running_service
from tests.fakes.small_disk import SMALL_DISK


def test_a_pipeline_above_the_capacity_is_refused_with_the_numbers(node):
    with node(capacity=2**20) as bench:
        bench.put()
        with pytest.raises(CapacityError, match=r"21\.0 MB needed, 1\.0 MB free of 1\.0 MB"):
            bench.open()
        bench.settle()
        assert bench.on_disk() == []
        assert bench.service.figures.status()["used"] == 0
        assert bench.cache()["last_error"]["code"] == "capacity"


def test_warming_what_cannot_fit_is_refused_at_once_where_the_size_is_known(node):
    with node(capacity=2**20) as bench:
        bench.reconciled()
        bench.put()
        bench.resolved()
        with pytest.raises(CapacityError):
            bench.service.warm(VOICE, refresh=False)


def test_a_fill_in_progress_holds_its_room(node, origin):
    with node(capacity=30 * 2**20) as bench:
        bench.put()
        bench.put(key=Key("default", "second"))
        with origin.held():
            bench.open()
            with pytest.raises(CapacityError):
                bench.open(Key("default", "second"))
        bench.settle()
        bench.service.removal.remove(VOICE, force=False)
        assert bench.warm(Key("default", "second")) is None


def test_a_refused_refresh_keeps_the_old_content_warm(node, origin):
    with node(capacity=30 * 2**20) as bench:
        bench.put()
        bench.warm()
        old = bench.open()
        origin.files["w.dat"] = chunks(2.5, seed=3)
        assert isinstance(bench.warm(refresh=True), CapacityError)
        assert bench.open() is old
        assert bench.on_disk() == [old.id]
        assert bench.cache()["state"] == "warm"


@pytest.fixture
def full(small_disk, quick_retries):
    """A service on a disk of 40 MiB that lies to it about the room it has."""
    size = SMALL_DISK // 2**20 + 8
    origins = MemoryOrigins({SOURCE: MemoryOrigin({"w.dat": chunks(size / 8)})})
    with running_service(small_disk, origins) as bench:
        bench.reconciled()
        yield bench


def test_a_disk_that_is_full_refuses_before_the_first_byte(full):
    full.put()
    assert isinstance(full.warm(), CapacityError)
    assert full.pulled == 0
    assert full.on_disk() == []


def test_a_disk_that_fills_at_the_layout_leaves_nothing_and_the_node_stays_up(full, monkeypatch):
    monkeypatch.setattr(type(full.root), "disk_free", 2**40)
    full.put()
    full.resolved()
    free = _free(full)
    assert isinstance(full.warm(), CapacityError)
    assert full.on_disk() == []
    assert full.service.figures.status()["used"] == 0
    assert free - _free(full) < 2**20


def _free(bench) -> int:
    disk = os.statvfs(bench.root.path)
    return disk.f_bavail * disk.f_frsize
