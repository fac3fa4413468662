"""A service that ends and begins again over the same ROOT."""

import errno
import os
from pathlib import Path

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import DiskError
from cache_server.catalogue.registry import Key
from cache_server.store import generation as generation_module
from cache_server.store.generation import Generation
from cache_server.store.root import Root
from tests.fakes.service import LIMIT, VOICE, chunks


@pytest.fixture
def half_filled(node, origin):
    """ROOT after a service that was closed with one chunk of three, and the small file, there."""
    origin.files = {"w.dat": chunks(2.5)}
    with node() as bench:
        bench.put()
        origin.break_after("w.dat", CHUNK_SIZE)
        with origin.held():
            generation = bench.open()
            origin.wait_until_stalled(3)
        file = generation.file("m", "w.dat")
        file.present_until(0, LIMIT)
    return node


def test_a_shutdown_while_filling_keeps_what_was_pulled(node, origin):
    origin.files = {"w.dat": chunks(2.5)}
    with node() as bench:
        bench.put()
        generation = bench.open()
        file = generation.file("m", "w.dat")
        file.present_until(0, LIMIT)
    kept = file.map.filled
    origin.sent.clear()
    with node() as bench:
        bench.reconciled()
        assert bench.settle() is None
        assert bench.pulled == len(origin.files["w.dat"]) - kept
        assert bench.read("w.dat", bench.open()) == origin.files["w.dat"]


def test_a_half_filled_slot_goes_on_by_itself_and_pulls_only_what_is_missing(half_filled, origin):
    origin.sent.clear()
    with half_filled() as bench:
        bench.reconciled()
        assert bench.settle() is None
        assert bench.cache()["state"] == "warm"
        assert bench.pulled == origin.sent["w.dat"] <= len(origin.files["w.dat"]) - CHUNK_SIZE
        assert bench.read("w.dat", bench.open()) == origin.files["w.dat"]


def test_a_warm_slot_is_warm_after_a_restart_without_its_origin(node, origin):
    with node() as bench:
        bench.put()
        bench.warm()
    data, origin.files = origin.files["w.dat"], {}
    with node() as bench:
        assert bench.read("w.dat", bench.open()) == data
        bench.reconciled()
        assert bench.service.figures.status()["used"] == bench.open().room


def test_a_pipeline_that_was_only_registered_is_not_filled_by_a_restart(node, origin):
    with node() as bench:
        bench.put()
        bench.resolved()
    with node() as bench:
        bench.reconciled()
        assert bench.slot().work is None
        assert origin.sent.total() == 0


def test_another_boot_of_the_machine_finds_chunks_that_only_claim_to_be_there(
    half_filled, origin, monkeypatch, tmp_path
):
    (weights,) = (tmp_path / "root").rglob("w.dat")
    fd = os.open(weights, os.O_RDWR)
    os.pwrite(fd, b"torn", 100)
    os.close(fd)
    monkeypatch.setattr(generation_module, "_this_boot", lambda: "another")
    origin.digests = False
    with half_filled() as bench:
        bench.reconciled()
        assert bench.settle() is None
        assert bench.read("w.dat", bench.open()) == origin.files["w.dat"]


@pytest.mark.parametrize("harm", ["cut", "delete", "table", "record", "publication"])
def test_harm_done_behind_our_back_is_found_at_the_next_start(node, origin, tmp_path, harm):
    with node() as bench:
        bench.put()
        bench.warm()
        directory = bench.open().directory
    (weights,) = directory.rglob("w.dat")
    if harm == "cut":
        os.truncate(weights, CHUNK_SIZE + 1)
    elif harm == "delete":
        weights.unlink()
    elif harm == "table":
        os.truncate(directory / "digests" / "1", 20)
    else:
        (directory / f"{'content' if harm == 'record' else 'generation'}.json").write_text("{")
    with node() as bench:
        bench.reconciled()
        assert not bench.cache()["warm"]
        assert bench.warm() is None
        assert bench.read("w.dat", bench.open()) == origin.files["w.dat"]
        assert bench.on_disk() == [bench.open().id]


def test_the_trash_and_what_nobody_registered_are_gone_after_a_start(node, tmp_path):
    root = tmp_path / "root"
    with node() as bench:
        bench.put()
        bench.warm()
    (root / "trash" / "old" / "files").mkdir(parents=True)
    (root / "slots" / "default" / "orphan" / "generation").mkdir(parents=True)
    (root / "slots" / "default" / "voice" / ("0" * 32)).mkdir()
    (root / "slots" / "stray").write_text("no slot")
    with node() as bench:
        bench.reconciled()
        assert bench.on_disk() == [bench.open().id]
        assert not (root / "slots" / "default" / "orphan").exists()


def test_a_disk_that_cannot_be_looked_at_does_not_keep_fills_waiting(node, tmp_path, monkeypatch):
    def fail(_: Root) -> None:
        raise DiskError("the disk refused")

    monkeypatch.setattr(Root, "empty_trash", fail)
    with node() as bench:
        bench.put()
        assert bench.warm() is None


def test_last_requests_outlive_a_restart(node):
    with node() as bench:
        bench.put()
        bench.service.touch(VOICE)
        last = bench.cache()["last_request"]
    with node() as bench:
        assert bench.cache()["last_request"] == last
        assert bench.cache()["hot"]


def test_touches_that_could_not_be_written_are_kept_for_the_next_round(bench, monkeypatch):
    bench.put()
    bench.service.touch(VOICE)
    written: list[dict] = []

    def fail(stamps) -> None:
        raise DiskError("locked")

    with monkeypatch.context() as broken:
        broken.setattr(bench.service._registry, "touch", fail)
        with pytest.raises(DiskError):
            bench.service._house.flush()
    monkeypatch.setattr(bench.service._registry, "touch", written.append)
    bench.service._house.flush()
    assert list(written[0]) == [VOICE]


def test_a_removed_pipeline_stays_removed(node):
    with node() as bench:
        bench.put()
        bench.put(key=Key("default", "other"))
        bench.service.removal.remove(VOICE, force=False)
    with node() as bench:
        assert [v["id"] for v in bench.service.figures.views("default")] == ["other"]


@pytest.mark.parametrize("where", ["generations", "slot_names"])
def test_a_directory_that_cannot_be_read_keeps_no_fill_waiting(node, monkeypatch, where):
    def fail(*_: object) -> list[Path]:
        raise OSError(errno.EIO, "the disk refused")

    with node() as bench:
        bench.put()
    monkeypatch.setattr(Root, where, fail)
    with node() as bench:
        bench.reconciled()
        assert bench.warm() is None


def test_running_out_of_descriptors_deletes_nothing(node, origin, monkeypatch):
    with node() as bench:
        bench.put()
        assert bench.warm() is None
        pulled = bench.pulled
    with monkeypatch.context() as patch:
        patch.setattr(Generation, "load", out_of_descriptors)
        with node() as bench:
            bench.reconciled()
            with pytest.raises(DiskError):
                bench.open()
            patch.undo()
            assert bench.open().published
            assert (pulled > 0, bench.pulled) == (True, 0)


def out_of_descriptors(directory: Path) -> Generation:
    cause = OSError(errno.EMFILE, "too many open files")
    raise DiskError(f"{directory.name} is not a generation") from cause
