"""A pull whose node is on the same host: files are read, and whatever goes wrong costs no byte."""

import errno
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.errors import BusyError
from cache_protocol.local import lent, refused
from cache_protocol.manifest import PASS_THROUGH
from replica_agent import crew
from replica_agent.arenas.host import HostMemory
from replica_agent.client import ControlClient
from replica_agent.local import loans, source
from replica_agent.pull import Pull
from replica_agent.report import to_json, to_table
from tests.fakes.lender import Lender
from tests.fakes.node import FakeNode, opened
from tests.fakes.weights import chunks

LIMIT = 20.0  # seconds; nothing here takes one
MODELS = {"asr": {"config.json": b"{}", "w.dat": chunks(3, more=77), "empty": b""}}
SIZE = sum(map(len, MODELS["asr"].values()))


@pytest.fixture
def node():
    with FakeNode(MODELS) as node:
        yield node


@pytest.fixture
def lender(tmp_path):
    with Lender(tmp_path, MODELS) as lender:
        yield lender


@contextmanager
def pulling(node, path, *, lanes=2):
    client, memory = ControlClient(node.url, local=str(path)), HostMemory(2**32)
    with Pull(client, node.pipeline, memory.open_arenas, lanes=lanes, patience=LIMIT) as pull:
        yield pull


def pulled(node, path, **options):
    """Pull everything and compare it; return the report."""
    with pulling(node, path, **options) as pull:
        assert pull.wait(LIMIT)
        check_content(node, pull)
        return report(pull)


def check_content(node, pull):
    assert pull.current.manifest.generation == node.generation_id
    arena = pull.current.arenas["asr"]
    for number, content in enumerate(node.models["asr"].values()):
        assert bytes(arena.view(number)) == content


def report(pull):
    return pull.boot("cpu", datetime.now(UTC))


def paths(node, kind="files"):
    return {s.path.partition("?")[0].rpartition("/")[2] for s in node.requests(kind)}


def test_files_that_are_lent_do_not_come_over_the_network(node, lender):
    told = pulled(node, lender.path)
    assert told.local_bytes == SIZE
    assert not told.notes
    assert not node.requests("files")


def test_their_digests_and_verdicts_do(node, lender):
    pulled(node, lender.path)
    assert paths(node, "digests") == {"config.json", "w.dat"}
    assert paths(node, "verdicts") == {"config.json", "w.dat", "empty"}


def test_the_node_is_asked_with_the_ticket_and_the_lease(node, lender):
    pulled(node, lender.path)
    assert {q.lease for q in lender.questions} == {"lease-1"}
    assert all(q.target.endswith("?ticket=1") for q in lender.questions)


def test_with_another_lease_the_rest_is_read_here_as_well(node, lender):
    there = threading.Event()

    def move_on(question):
        lender.answer = lender.lend
        assert there.wait(LIMIT)
        pull.current.refresh(node.manifest())  # as after a restart of the node
        return lender.lend(question)

    lender.answer = move_on
    with opened(there), pulling(node, lender.path, lanes=1) as pull:
        there.set()
        assert pull.wait(LIMIT)
        told = report(pull)
    assert (told.local_bytes, told.notes) == (SIZE, ())
    assert [q.lease for q in lender.questions] == ["lease-1", "lease-2"]


def test_the_report_says_how_much_was_read_here(node, lender):
    told = pulled(node, lender.path)
    assert to_json(told)["local_bytes"] == SIZE
    assert "read on this host: 25.2 MB" in to_table(told)


def test_over_the_network_the_report_says_nothing_of_it(node):
    told = pulled(node, "off")
    assert "local_bytes" not in to_json(told)
    assert not told.notes


def test_rot_on_the_disk_is_brought_over_the_network_past_the_nodes_cache(node, lender):
    with lender.file("asr", "w.dat").open("r+b") as file:
        file.seek(CHUNK_SIZE + 5)
        file.write(b"rot")
    pulled(node, lender.path)
    (asked,) = node.requests("files")
    assert asked.headers["Cache-Control"] == "no-cache"
    assert asked.span.begin == CHUNK_SIZE


def test_without_a_socket_all_comes_over_the_network_and_the_report_says_why(node, tmp_path):
    told = pulled(node, tmp_path / "nothing")
    assert told.local_bytes == 0
    (note,) = told.notes
    assert "nothing: No such file or directory" in note


@pytest.mark.parametrize("hello", [b"SSH-2.0-x\n", b"{}\n", b"x" * 20000])
def test_who_does_not_greet_as_a_node_hears_no_ticket(node, lender, hello):
    lender.hello = hello
    told = pulled(node, lender.path)
    assert told.local_bytes == 0
    assert "read over the network" in told.notes[0]
    assert lender.heard == b""


def test_who_is_silent_is_not_waited_for_for_long(node, lender, monkeypatch):
    monkeypatch.setattr(loans, "PATIENCE", 0.1)
    lender.hello = b""
    assert "timed out" in pulled(node, lender.path).notes[0]


def test_a_refusal_is_told_with_its_reason(node, lender):
    lender.answer = lambda _: (refused(BusyError("256 connections are on this socket")), None)
    assert "256 connections are on this socket" in pulled(node, lender.path).notes[0]


def test_a_file_that_is_not_whole_yet_comes_over_the_network_and_others_do_not(node, lender):
    def answer(question):
        return (lent(None), None) if "w.dat" in question.target else lender.lend(question)

    lender.answer = answer
    told = pulled(node, lender.path)
    assert (told.local_bytes, told.notes) == (2, ())
    assert paths(node) == {"w.dat"}


def test_what_is_no_file_of_the_right_size_is_not_read(node, lender, tmp_path):
    (tmp_path / "short").write_bytes(b"x")
    reading, writing = os.pipe()
    wrong = [
        lambda _: (lent(2), None),
        lambda _: (lent(7), os.open("/dev/zero", os.O_RDONLY)),
        lambda _: (lent(len(MODELS["asr"]["w.dat"])), os.dup(reading)),
        lambda _: (lent(len(MODELS["asr"]["w.dat"])), os.open("/dev/zero", os.O_RDONLY)),
        lambda _: (lent(len(MODELS["asr"]["w.dat"])), os.open(tmp_path / "short", os.O_RDONLY)),
        lambda _: (b"nonsense\n", os.open(tmp_path / "short", os.O_RDONLY)),
    ]
    try:
        before = len(os.listdir("/proc/self/fd"))
        for answer in wrong:
            lender.answer = answer
            told = pulled(node, lender.path)
            assert told.local_bytes == 0
            assert told.notes
        settled(lambda: len(os.listdir("/proc/self/fd")) <= before)
    finally:
        os.close(reading)
        os.close(writing)


def settled(true):
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@contextmanager
def before_byte(monkeypatch, at, act):
    """Have ``act`` happen once, before the piece at ``at`` of w.dat is read."""
    real, lock, done = source.read_at, threading.Lock(), []

    def read_at(fd, room, place):
        if place == at:
            with lock:
                if not done:
                    done.append(act())
        real(fd, room, place)

    monkeypatch.setattr(source, "read_cached", lambda *_: 0)  # all has to come from the disk
    monkeypatch.setattr(source, "read_at", read_at)
    yield done


def test_a_file_that_is_cut_short_while_it_is_read_goes_on_over_the_network(
    node, lender, monkeypatch
):
    def cut():
        os.truncate(lender.file("asr", "w.dat"), 0)

    with before_byte(monkeypatch, CHUNK_SIZE, cut) as done:
        told = pulled(node, lender.path, lanes=1)
    assert done
    assert "w.dat, byte 8388608: " in told.notes[0]
    (asked,) = node.requests("files")
    assert asked.span.begin == CHUNK_SIZE  # what was in place before stays


def test_a_disk_that_fails_is_an_error_of_a_read_and_the_network_goes_on(node, lender, monkeypatch):
    def fail():
        raise OSError(errno.EIO, "Input/output error")

    with before_byte(monkeypatch, 2 * CHUNK_SIZE, fail):
        told = pulled(node, lender.path, lanes=1)
    assert "byte 16777216: Input/output error" in told.notes[0]
    assert [s.span.begin for s in node.requests("files")] == [2 * CHUNK_SIZE]


def test_a_file_system_that_takes_no_advice_is_read_without(node, lender, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(source, "read_cached", lambda *_: 0)
    monkeypatch.setattr(os, "posix_fadvise", refuse)
    told = pulled(node, lender.path)
    assert (told.local_bytes, told.notes) == (SIZE, ())


def test_when_the_node_hangs_up_what_it_lent_is_read_no_further(node, lender, monkeypatch):
    with before_byte(monkeypatch, CHUNK_SIZE, lender.hang_up):
        told = pulled(node, lender.path, lanes=1)
    assert "the node took back what it had lent" in told.notes[0]
    assert [s.span.begin for s in node.requests("files")] == [2 * CHUNK_SIZE]


def test_another_lane_takes_the_place_of_one_that_hangs_in_the_disk(node, lender, monkeypatch):
    monkeypatch.setattr(crew, "DISK_PATIENCE", 0.1)
    monkeypatch.setattr("replica_agent.pull.LOOK", 0.02)
    gate = threading.Event()
    with (
        opened(gate),
        before_byte(monkeypatch, CHUNK_SIZE, lambda: gate.wait(LIMIT)),
        pulling(node, lender.path, lanes=1) as pull,
    ):
        assert pull.wait(LIMIT)
        check_content(node, pull)
        assert "did not give a piece of a file within" in report(pull).notes[0]
        lender.file("asr", "w.dat").write_bytes(bytes(len(MODELS["asr"]["w.dat"])))
        gate.set()  # the read ends after all, with other bytes
        settled(lambda: not _readers())
        check_content(node, pull)


def test_a_lane_that_is_left_behind_keeps_no_connection(node, lender, monkeypatch):
    monkeypatch.setattr(crew, "DISK_PATIENCE", 0.1)
    monkeypatch.setattr("replica_agent.pull.LOOK", 0.02)
    gate = threading.Event()
    with opened(gate), before_byte(monkeypatch, CHUNK_SIZE, gate.wait):
        with pulling(node, lender.path, lanes=1) as pull:
            assert pull.wait(LIMIT)
        settled(lambda: not node.connections)
        assert _readers()
    settled(lambda: not _readers())


def once_more(pull):
    pull.again("an arena was lost", pull.current)
    assert pull.wait(LIMIT)


def test_what_was_read_here_before_an_arena_was_lost_is_told_as_well(node, lender):
    with pulling(node, lender.path) as pull:
        assert pull.wait(LIMIT)
        once_more(pull)
        assert report(pull).local_bytes == 2 * SIZE


def test_a_disk_that_hung_is_not_asked_again_for_arenas_that_are_opened_anew(
    node, lender, monkeypatch
):
    monkeypatch.setattr(crew, "DISK_PATIENCE", 0.1)
    monkeypatch.setattr("replica_agent.pull.LOOK", 0.02)
    gate = threading.Event()
    with (
        opened(gate),
        before_byte(monkeypatch, CHUNK_SIZE, gate.wait),
        pulling(node, lender.path, lanes=1) as pull,
    ):
        assert pull.wait(LIMIT)
        asked = len(lender.questions)
        once_more(pull)
        check_content(node, pull)
        assert len(lender.questions) == asked
        (note,) = report(pull).notes
        assert "did not give a piece of a file within" in note
    settled(lambda: not _readers())


def test_a_pull_that_is_closed_does_not_wait_for_a_disk_that_hangs(node, lender, monkeypatch):
    monkeypatch.setattr(crew, "LEAVING", 0.1)
    gate, there = threading.Event(), threading.Event()

    def hang():
        there.set()
        gate.wait(LIMIT)

    with opened(gate), before_byte(monkeypatch, CHUNK_SIZE, hang):
        with pulling(node, lender.path, lanes=1):
            assert there.wait(LIMIT)
        assert not gate.is_set()
        assert _readers()
        gate.set()
        settled(lambda: not _readers())


def _readers():
    return [t for t in threading.enumerate() if "run" in t.name and t.name.startswith("Thread")]


def test_while_nothing_is_left_to_read_no_file_is_kept_open(node, lender):
    gate = node.faults.verdict_gates["asr", "w.dat"] = threading.Event()
    with opened(gate), pulling(node, lender.path) as pull:
        settled(lambda: pull.current and pull.current.verified_bytes == SIZE)
        settled(lambda: not _open_below(lender.path.parent))


def _open_below(directory: Path):
    links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
    return [p for p in map(os.path.realpath, links) if p.startswith(f"{directory}/asr")]


def test_what_only_passes_through_the_node_is_not_asked_for(node, lender, monkeypatch):
    real = node.manifest

    def manifest(lease=None):
        return replace(real(lease), source=PASS_THROUGH)

    monkeypatch.setattr(node, "manifest", manifest)
    assert pulled(node, lender.path).local_bytes == 0
    assert not lender.questions
