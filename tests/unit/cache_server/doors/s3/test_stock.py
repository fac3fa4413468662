"""What the door finds at a real service: names without a fill, content with one."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest

from cache_protocol.errors import (
    BusyError,
    DrainingError,
    OriginDeniedError,
    UnknownPipelineError,
)
from cache_protocol.formats import Hazard
from cache_server.catalogue.registry import Key
from cache_server.core.standing import Rules
from cache_server.doors.holds import Holds
from cache_server.doors.s3 import stock as stock_module
from cache_server.doors.s3.stock import Catalogues, NodeStock
from cache_server.doors.shelf import Shelf
from cache_server.fill.passing import PassingGeneration
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.s3_door import generation
from tests.fakes.service import SOURCE, VOICE, chunks, running_service


class SlowOrigin(MemoryOrigin):
    """Says what it holds when the test lets it."""

    def __init__(self, files):
        super().__init__(files)
        self.may_answer = threading.Event()
        self.may_answer.set()

    def resolve(self):
        assert self.may_answer.wait(30)
        return super().resolve()


@pytest.fixture
def origin():
    return SlowOrigin({"config.json": b"{}", "w.dat": chunks(1.5)})


@pytest.fixture
def node(tmp_path, origin, quick_retries):
    def start(**more):
        return running_service(tmp_path / "root", MemoryOrigins({SOURCE: origin}), **more)

    return start


@pytest.fixture
def bench(node):
    with node() as bench:
        bench.reconciled()
        yield bench


def stock_of(bench, patience: float = 30.0) -> NodeStock:
    return NodeStock(Shelf(bench.service, Holds(bench.service)), patience)


def paths(generation) -> list[str]:
    return [file.path for _, file in generation.content.files()]


def test_names_of_a_cold_pipeline_come_from_its_origin_and_nothing_else_does(bench, origin):
    bench.put()
    assert paths(stock_of(bench).names("t", VOICE)) == ["config.json", "w.dat"]
    assert bench.cache()["state"] == "cold"
    assert (bench.pulled, origin.requests) == (0, [])
    assert bench.service.leases.count == 0


def test_what_stayed_at_its_origin_is_known_by_its_key(bench, origin):
    origin.files["modeling.py"] = b"import os"
    bench.put()
    found = Catalogues().of(stock_of(bench).names("t", VOICE))
    assert found.left_out == {"m/modeling.py": Hazard.CODE}
    assert "m/modeling.py" not in found.keys


def test_names_are_asked_of_the_origin_once(bench, origin):
    bench.put()
    stock = stock_of(bench)
    for _ in range(3):
        stock.names("t", VOICE)
    assert origin.resolves == 1


def test_names_and_content_of_a_cold_pipeline_are_of_one_generation(bench):
    bench.put()
    stock = stock_of(bench)
    assert stock.names("t", VOICE).id == stock.open("t", VOICE).id
    assert bench.settle() is None


def test_to_open_fills_and_holds(bench):
    bench.put()
    stock_of(bench).open("t", VOICE)
    assert bench.service.leases.readers(VOICE) == 1
    assert bench.settle() is None
    assert bench.cache()["warm"] is True


def test_a_warm_pipeline_asks_its_origin_nothing(bench, origin):
    bench.put()
    bench.warm()
    asked = origin.resolves, len(origin.requests)
    stock = stock_of(bench)
    assert stock.names("t", VOICE) is stock.open("t", VOICE)
    assert (origin.resolves, len(origin.requests)) == asked


def test_names_of_a_slow_origin_are_waited_for_only_so_long(bench, origin):
    origin.may_answer.clear()
    bench.put()
    with pytest.raises(BusyError, match="come back"):
        stock_of(bench, patience=0.05).names("t", VOICE)
    origin.may_answer.set()
    assert paths(stock_of(bench).names("t", VOICE)) == ["config.json", "w.dat"]


def test_only_so_many_wait_for_origins_that_are_silent(bench, origin):
    bench.put()
    bench.warm()
    slow = Key("default", "slow")
    origin.may_answer.clear()
    bench.put(key=slow)
    stock = NodeStock(Shelf(bench.service, Holds(bench.service)), 30, waits=1)
    began, place = threading.Event(), stock._waits.place

    @contextmanager
    def told(tenant):
        with place(tenant):
            began.set()
            yield

    stock._waits.place = told
    waiter = threading.Thread(target=stock.names, args=("t", slow))
    waiter.start()
    assert began.wait(30)
    for ask in (stock.names, stock.open):
        with pytest.raises(BusyError, match="too many"):
            ask("t", slow)
        assert ask("t", VOICE).published  # who is warm waits for nobody
    origin.may_answer.set()
    waiter.join()
    assert stock.names("t", slow)


def test_what_may_not_be_read_any_more_has_not_even_names(tmp_path, origin, quick_retries):
    origin.restricted = True
    rules = Rules(every=timedelta(hours=1), grace=timedelta(hours=24))
    opened = MemoryOrigins({SOURCE: origin})
    with running_service(tmp_path / "private", opened, access=rules) as bench:
        bench.reconciled()
        bench.put()
        bench.warm()
        stock = stock_of(bench)
        stock.open("t", VOICE)
        origin.deny(OriginDeniedError("you are not in the list"))
        bench.clock.advance(3600)
        bench.service.access.round()
        for ask in (stock.names, stock.open):
            with pytest.raises(OriginDeniedError, match="not in the list"):
                ask("t", VOICE)


def test_what_the_origin_says_no_to_is_told(bench, origin):
    origin.fail_resolve(OriginDeniedError("it is gated"), times=2)
    bench.put()
    bench.resolved()
    with pytest.raises(OriginDeniedError, match="gated"):
        stock_of(bench).names("t", VOICE)


def test_a_pipeline_that_nobody_registered_is_unknown(bench):
    stock = stock_of(bench)
    asks = (stock.check, lambda key: stock.names("t", key), lambda key: stock.open("t", key))
    for ask in asks:
        with pytest.raises(UnknownPipelineError):
            ask(VOICE)


def test_buckets_are_the_pipelines_of_a_tenant(bench):
    for key in (VOICE, Key("default", "a"), Key("other", "b")):
        bench.put(key=key)
    assert stock_of(bench).buckets("default") == ["a", "voice"]
    assert stock_of(bench).buckets("none") == []


def test_without_room_names_and_bytes_come_all_the_same(node):
    with node(capacity=8 * 2**20) as bench:
        bench.reconciled()
        bench.put()
        stock = stock_of(bench)
        listed, opened = stock.names("t", VOICE), stock.open("t", VOICE)
        assert isinstance(opened, PassingGeneration)
        assert paths(listed) == paths(opened)
        found = Catalogues().of(opened).objects["m/w.dat"].shape
        assert found.etag == opened.file("m", "w.dat").etag


def test_a_node_that_is_about_to_stop_takes_no_new_reader(bench):
    bench.put()
    bench.warm()
    bench.service.drain()
    with pytest.raises(DrainingError):
        stock_of(bench).open("t", VOICE)


def test_a_catalogue_is_made_once_for_a_generation(monkeypatch):
    made = []
    make = stock_module.catalogue_of
    monkeypatch.setattr(stock_module, "catalogue_of", lambda *of: made.append(of) or make(*of))
    known, (one, two, three) = Catalogues(limit=2), map(_numbered, range(3))
    for each in (one, two, one, three, one):
        known.of(each)
    assert len(made) == 3
    known.of(two)  # the one that nobody looked at for longest was forgotten
    assert len(made) == 4


def test_catalogues_of_many_objects_leave_no_room_for_others(monkeypatch):
    made = []
    make = stock_module.catalogue_of
    monkeypatch.setattr(stock_module, "catalogue_of", lambda *of: made.append(of) or make(*of))
    known, small, large = Catalogues(objects=10), _numbered(0), _numbered(1, files=10)
    for each in (small, large, large):
        assert known.of(each).objects
    assert len(made) == 2  # what is larger than the bound is remembered as long as it is the latest
    known.of(small)
    assert len(made) == 3


def _numbered(number: int, files: int = 1):
    return generation(Key("default", f"p{number}"), {f"m/{n}": 1 for n in range(files)})
