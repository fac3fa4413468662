"""The walk over what lies on disk, on a whole service and a real file system."""

import json
import os
from threading import Event

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import OriginDeniedError, UnknownPipelineError
from cache_server.catalogue.registry import Key
from cache_server.service import scrub as scrub_module
from tests.fakes.service import LIMIT, VOICE

OTHER = Key("default", "other")


@pytest.fixture
def warm(bench):
    bench.put()
    bench.warm()
    return bench


def weights(bench):
    return bench.open().file("m", "w.dat")


def flip(file, at):
    with file.path.open("r+b", buffering=0) as opened:
        byte = os.pread(opened.fileno(), 1, at)[0]
        os.pwrite(opened.fileno(), bytes([byte ^ 1]), at)


def scrubbed(bench, pipeline=None):
    """Run a pass to its end and return what it found."""
    bench.service.scrub(pipeline)
    walk = bench.service._scrub
    with walk._changed:
        assert walk._changed.wait_for(lambda: not walk._passes, LIMIT)
    return bench.service.figures.status()["scrub"]["last"]


def test_a_pass_over_what_is_right_finds_nothing_and_costs_the_origin_nothing(warm, origin):
    origin.sent.clear()
    last = scrubbed(warm)
    assert (last["checked"], last["wrong"]) == (sum(map(len, origin.files.values())), 0)
    assert not origin.sent
    assert warm.cache()["scrubbed"] == last["ended"]


def test_rot_in_a_file_that_nobody_reads_is_repaired_by_its_chunk_alone(warm, origin):
    flip(weights(warm), CHUNK_SIZE + 9)
    origin.sent.clear()
    assert (scrubbed(warm)["wrong"], warm.cache()["repaired_chunks"]) == (1, 1)
    assert origin.sent == {"w.dat": CHUNK_SIZE}
    assert warm.read("w.dat", warm.open()) == origin.files["w.dat"]
    assert warm.cache()["state"] == "warm"


@pytest.mark.parametrize("harm", ["missing", "cut"])
def test_a_lost_file_that_nobody_reads_is_found_and_filled_again(warm, origin, harm):
    path = weights(warm).path
    path.unlink() if harm == "missing" else os.truncate(path, 5)
    last = scrubbed(warm)
    warm.settle()
    assert (last["wrong"], last["unrepaired"]) == (1, 0)
    assert warm.service.figures.status()["lost_files"] == 1
    assert warm.read("w.dat", warm.open()) == origin.files["w.dat"]


def test_what_cannot_be_repaired_now_is_counted_and_the_rest_is_looked_at(warm, origin):
    flip(weights(warm), 9)
    origin.deny(OriginDeniedError("closed"))
    last = scrubbed(warm)
    assert (last["wrong"], last["unrepaired"]) == (1, 1)
    assert last["checked"] == sum(map(len, origin.files.values()))


def test_a_pass_over_one_pipeline_leaves_the_others_alone(warm, origin):
    warm.put(key=OTHER)
    warm.warm(OTHER)
    last = scrubbed(warm, OTHER)
    assert last["checked"] == sum(map(len, origin.files.values()))
    assert (warm.cache(OTHER)["scrubbed"], warm.cache(VOICE)["scrubbed"]) == (last["ended"], None)


def test_a_pipeline_that_is_not_there_is_not_looked_at(bench):
    with pytest.raises(UnknownPipelineError):
        bench.service.scrub(VOICE)


def test_whoever_asks_while_a_pass_runs_joins_it(warm, monkeypatch):
    with Held(monkeypatch) as (began, _):
        warm.service.scrub(None)
        assert began.wait(LIMIT)
        assert warm.service.scrub(VOICE)["waiting"] == []
        assert warm.service.scrub(None)["running"]


def test_a_pass_goes_on_after_a_restart_where_it_was(node, origin, monkeypatch):
    with node() as bench:
        bench.reconciled()
        bench.put()
        bench.warm()
        with Held(monkeypatch, at=2) as (began, _):
            bench.service.scrub(None)
            assert began.wait(LIMIT)
            bench.service._scrub._ending = True
    kept = json.loads((bench.root.path / "scrub.json").read_text())["passes"][0]
    assert 0 < kept["checked"] < sum(map(len, origin.files.values()))
    with node() as bench:
        bench.reconciled()
        last = scrubbed(bench)
    assert last["checked"] == sum(map(len, origin.files.values()))


def test_a_record_that_is_none_costs_the_pass_and_no_more(node, tmp_path):
    with node() as bench:
        bench.put()
    (tmp_path / "root" / "scrub.json").write_text('{"passes": [{"colour": 1}]}')
    with node() as bench:
        bench.reconciled()
        assert not bench.service.figures.status()["scrub"]["running"]


def test_a_slot_that_goes_during_the_pass_is_passed_over(warm, monkeypatch):
    with Held(monkeypatch, at=1) as (began, _):
        warm.service.scrub(None)
        assert began.wait(LIMIT)
        warm.service.removal.remove(VOICE, force=False)
    assert scrubbed(warm)["wrong"] == 0


class Held:
    """Let the walk wait before it looks at its chunk number ``at``, until the end of the block."""

    def __init__(self, monkeypatch, at=0):
        self._began, self._go, self._left = Event(), Event(), at
        look = scrub_module._look

        def wait_and_look(*suspect):
            if self._left == 0:
                self._began.set()
                assert self._go.wait(LIMIT)
            self._left -= 1
            return look(*suspect)

        monkeypatch.setattr(scrub_module, "_look", wait_and_look)

    def __enter__(self):
        return self._began, self._go

    def __exit__(self, *_):
        self._go.set()
