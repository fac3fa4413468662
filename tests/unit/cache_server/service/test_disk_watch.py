"""The watch over the disk, with a probe to order; and what a whole service makes of it."""

import errno
import queue
import threading

import pytest

from cache_protocol.errors import CapacityError, DiskError
from cache_server.catalogue.registry import Key
from cache_server.service.disk_watch import DiskWatch, SickDiskError
from cache_server.store.root import Root
from tests.fakes.service import LIMIT, VOICE


def device_error(number=errno.EIO):
    error = DiskError("w.dat: the device said no")
    error.__cause__ = OSError(number, "no")
    return error


class Probe:
    """Comes back well, raises what it is told to, or waits at a gate."""

    def __init__(self):
        self.error = None
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self):
        assert self.gate.wait(LIMIT)
        if self.error is not None:
            raise self.error


@pytest.fixture
def probe():
    return Probe()


@pytest.fixture
def told():
    return queue.SimpleQueue()


@pytest.fixture
def watch(probe, told):
    watch = DiskWatch(probe, told.put, every=0.01, deadline=0.2)
    watch.start()
    yield watch
    probe.gate.set()
    watch.close()


def test_a_probe_that_fails_is_told_of_and_so_is_the_recovery(watch, probe, told):
    probe.error = device_error()
    assert "the device said no" in told.get(timeout=LIMIT)
    with pytest.raises(SickDiskError, match="until it is well"):
        watch.check()
    probe.error = None
    assert told.get(timeout=LIMIT) is None
    watch.check()


def test_a_probe_that_hangs_is_told_of_and_so_is_the_recovery(watch, probe, told):
    probe.gate.clear()
    assert "has not answered" in told.get(timeout=LIMIT)
    probe.gate.set()
    assert told.get(timeout=LIMIT) is None


def test_a_full_disk_is_no_sick_one(probe):
    probe.error = CapacityError("full")
    assert DiskWatch(probe, lambda _: None)._ask() is None


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS, errno.ENODEV])
def test_what_a_failing_device_says_to_others_counts(probe, number):
    watch = DiskWatch(probe, lambda _: None)
    watch.noticed(device_error(number))
    assert watch.sickness is not None


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ENOSPC, errno.EMFILE])
def test_what_says_nothing_about_the_device_does_not_count(probe, number):
    watch = DiskWatch(probe, lambda _: None)
    watch.noticed(device_error(number))
    assert watch.sickness is None


# A whole service.


@pytest.fixture
def sick(monkeypatch):
    """Let every probe fail from now on, until the list is emptied."""
    errors = []
    probe = Root.probe

    def fail_or_probe(root):
        if errors:
            raise errors[0]
        probe(root)

    monkeypatch.setattr(Root, "probe", fail_or_probe)
    return errors


def until_told(bench, *, sick):
    reached = threading.Event()
    for _ in range(int(LIMIT / 0.05)):
        if (bench.service.unready is not None) == sick:
            return
        reached.wait(0.05)
    raise AssertionError("the service was never told")


def test_a_sick_disk_takes_no_fill_keeps_serving_and_fills_again_when_it_is_well(bench, sick):
    bench.put()
    bench.resolved()
    sick.append(device_error())
    bench.service._disk.noticed(sick[0])
    assert "sick" in bench.service.unready
    with pytest.raises(SickDiskError):
        bench.service.warm(VOICE, refresh=False)
    with pytest.raises(SickDiskError):
        bench.service.ensure(VOICE)
    sick.clear()
    until_told(bench, sick=False)
    assert bench.warm() is None


def test_a_fill_that_was_ended_by_a_sick_disk_goes_on_by_itself(bench, origin, sick):
    bench.put()
    with origin.held():
        bench.open()
        origin.wait_until_stalled()
        work = bench.slot().work
        sick.append(device_error())
        bench.service._disk.noticed(sick[0])
        assert work.stopped.wait(LIMIT)
    assert work.done.exception(LIMIT) is not None
    sick.clear()
    until_told(bench, sick=False)
    work = bench.slot().work
    assert work is None or work.done.result(LIMIT) is None
    assert bench.read("w.dat", bench.open()) == origin.files["w.dat"]


def test_a_warm_slot_is_read_while_the_disk_is_sick(bench, origin, sick):
    bench.put()
    bench.warm()
    sick.append(device_error())
    bench.service._disk.noticed(sick[0])
    assert bench.read("w.dat", bench.open()) == origin.files["w.dat"]


def test_a_chunk_that_the_disk_refused_to_a_reader_is_looked_at_and_the_disk_is_doubted(bench):
    bench.put()
    bench.warm()
    file = bench.open().file("m", "w.dat")
    with file.path.open("r+b") as opened:
        opened.write(b"rot")
    file.failed(0, OSError(errno.EIO, "no"))
    until_told(bench, sick=False)
    for _ in range(int(LIMIT / 0.05)):
        if bench.cache()["repaired_chunks"]:
            break
        threading.Event().wait(0.05)
    assert bench.cache()["repaired_chunks"] == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda bench: bench.put(key=Key("default", "other")),
        lambda bench: bench.service.removal.remove(VOICE, force=True),
        lambda bench: bench.service.removal.evict(VOICE, force=True),
        lambda bench: bench.service.pipelines.pin(VOICE, pinned=True),
    ],
    ids=["put", "remove", "evict", "pin"],
)
def test_what_would_write_to_a_sick_disk_is_refused_before_it_holds_up_others(bench, sick, call):
    bench.put()
    bench.warm()
    sick.append(device_error())
    bench.service._disk.noticed(sick[0])
    with pytest.raises(SickDiskError):
        call(bench)
    assert bench.cache()["warm"]
