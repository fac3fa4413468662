"""Files of a warm slot that are harmed behind the node's back while it runs."""

import os

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import DiskError
from tests.fakes.service import LIMIT, chunks


@pytest.fixture
def warm(bench):
    bench.put()
    bench.warm()
    return bench


def weights(bench):
    return bench.open().file("m", "w.dat")


def harmed(file, how):
    match how:
        case "missing":
            file.path.unlink()
        case "cut":
            os.truncate(file.path, CHUNK_SIZE + 1)
        case "empty":
            os.truncate(file.path, 0)
        case "link":
            file.path.rename(file.path.with_name("elsewhere"))
            file.path.symlink_to("elsewhere")
        case "directory":
            file.path.unlink()
            file.path.mkdir()
    return file


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "link", "directory"])
def test_a_file_that_is_lost_is_found_when_it_is_opened_and_brought_anew(warm, origin, how):
    with pytest.raises(DiskError, match="brought anew"):
        harmed(weights(warm), how).open()
    assert warm.settle() is None
    assert warm.read("w.dat", warm.open()) == origin.files["w.dat"]
    assert warm.cache()["warm"]
    assert warm.service.figures.status()["lost_files"] == 1


def test_only_what_is_missing_is_pulled_again(warm, origin):
    origin.sent.clear()
    with pytest.raises(DiskError):
        harmed(weights(warm), "cut").open()
    warm.settle()
    assert origin.sent == {"w.dat": len(origin.files["w.dat"]) - CHUNK_SIZE}


def test_a_reader_of_a_lost_file_waits_for_what_is_missing_and_gets_the_rest(warm, origin):
    file = harmed(weights(warm), "cut")
    with origin.held():
        with pytest.raises(DiskError):
            file.open()
        origin.wait_until_stalled()
        assert warm.open().id == file.path.parts[-4]
        assert file.present_until(0, LIMIT) == CHUNK_SIZE
        with pytest.raises(TimeoutError):
            file.present_until(CHUNK_SIZE, 0.01)
        assert warm.cache()["state"] == "filling"
    assert file.present_until(CHUNK_SIZE, LIMIT) >= 2 * CHUNK_SIZE
    warm.settle()


def test_two_files_that_were_swapped_are_repaired_chunk_by_chunk(bench, origin):
    origin.files = {"a.dat": chunks(1.5, seed=1), "b.dat": chunks(1.5, seed=2)}
    bench.put()
    bench.warm()
    a, b = (bench.open().file("m", name) for name in ("a.dat", "b.dat"))
    a.path.rename(a.path.with_name("third"))
    b.path.rename(a.path)
    a.path.with_name("third").rename(b.path)
    for file in (a, b):
        for chunk in range(file.map.count):
            file.revalidate(chunk, LIMIT)
    assert bench.read("a.dat", bench.open()) == origin.files["a.dat"]
    assert bench.read("b.dat", bench.open()) == origin.files["b.dat"]
    assert bench.cache()["repaired_chunks"] == 4


def test_a_node_that_dies_after_a_loss_was_found_never_takes_zeros_for_whole(node, origin):
    with node() as bench:
        bench.put()
        bench.warm()
        file = harmed(weights(bench), "cut")
        with origin.held():
            with pytest.raises(DiskError):
                file.open()
            origin.wait_until_stalled()
    with node() as bench:
        bench.reconciled()
        bench.settle()
        assert bench.read("w.dat", bench.open()) == origin.files["w.dat"]
        assert bench.service.figures.status()["used"] == bench.open().room
