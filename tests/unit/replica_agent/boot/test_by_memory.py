"""When a boot that hands weights over gives devices back, and what it waits for memory."""

import gc
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from cache_protocol.plans import dump_plan
from replica_agent.arenas.cuda import bindings
from replica_agent.boot.by_memory import MemoryWay
from replica_agent.boot.home import Home
from replica_agent.boot.options import Options
from replica_agent.boot.record import Record
from replica_agent.boot.small import write_small_files
from replica_agent.boot.ways import Trip
from replica_agent.handover.client import attach
from replica_agent.handover.messages import Outcome
from replica_agent.handover.place import read_place
from replica_agent.plans.plain import plain
from replica_agent.settings import Settings
from tests.fakes import planned
from tests.fakes.cuda_driver import FakeDriver
from tests.fakes.node import FakeNode, opened

CONTENT = planned.checkpoint()
PLANS = planned.plans(CONTENT, device="cuda")
LONG = 20.0  # seconds; nothing here takes so long


@pytest.fixture
def driver(monkeypatch):
    made = FakeDriver(devices=3)
    monkeypatch.setattr(bindings, "load_driver", lambda: made)
    yield made
    gc.collect()
    made.check_clean()


@pytest.fixture
def node():
    with FakeNode({"llm": {"config.json": b"{}", planned.PATH: CONTENT}}) as node:
        for plan in (*PLANS, *planned.plans(CONTENT)):
            node.plans["llm", plan.key.digest] = dump_plan(plan)
        yield node


@pytest.fixture
def gate(node):
    """Return what the weights wait for: before the pull begins, so that none comes before."""
    with opened(node.gate("llm", planned.PATH, 1)) as gate:
        yield gate


@pytest.fixture
def way(node, driver, gate):
    """Return the way of a boot of two ranks, on devices 0 and 2."""
    with booting(node, "cuda:0,2") as way:
        yield way


@contextmanager
def booting(node, device, **settings):
    with TemporaryDirectory(prefix="warmline-") as name, ExitStack() as cleanup:
        directory = Path(name)  # not pytest's: too long for a socket
        home = Home(directory / "homes", "voice")
        cleanup.callback(home.close)
        command = (
            engine_in(directory),
            "serve",
            "{model}",
            "--load-format",
            "warmline",
            "-tp",
            "2",
        )
        options = Options("voice", command, device=device, lanes=1)
        of_agent = Settings(node.url, state_dir=directory / "state", **settings)
        way = MemoryWay(Trip(options, of_agent, home, Record(time.monotonic(), datetime.now(UTC))))
        cleanup.callback(way.close)
        yield way


def engine_in(directory: Path) -> str:
    """Return the program of a vLLM in an environment of its own."""
    there = directory / "lib/python3.11/site-packages/vllm-0.32.0.dist-info"
    there.mkdir(parents=True)
    (there / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0\n")
    program = directory / "bin/vllm"
    program.parent.mkdir()
    (program.parent / "python").symlink_to(sys.executable)
    program.write_text(f"#!{program.parent}/python\n")
    program.chmod(0o755)
    return str(program)


def adopt(socket, gate):
    """Take both ranks' shards while weights are under way, as an engine does."""
    with (
        attach(socket, "llm", rank=0, peers=2, adopts=True) as one,
        attach(socket, "llm", rank=1, peers=2, adopts=True) as other,
    ):
        gate.set()
        for attached in (one, other):
            attached.wait_confirmed()
            attached.done(Outcome.LOADED, 1.0, adopted=attached.shard.size)


def refuse(socket, gate):
    """Have plain files instead, of which each rank reads what it wants."""
    with attach(socket, "llm", rank=0, peers=2, adopts=True) as attached:
        attached.refuse("not what I read")
    gate.set()
    for rank in range(2):
        with attach(socket, "llm", rank=rank, peers=2, adopts=True) as attached:
            attached.wait_confirmed()
            attached.done(Outcome.LOADED, 1.0)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("load", [adopt, refuse])
def test_devices_are_given_back_when_the_engine_is_ready(driver, way, gate, load, keep):
    load(read_place(way.prepare()["llm"]).socket, gate)
    if not keep:
        way.release()
    gc.collect()
    way.settle()
    assert driver.open_devices == 0


def test_a_way_that_is_closed_leaves_no_device_open(driver, way):
    way.prepare()
    way.close()
    gc.collect()
    assert driver.open_devices == 0


def test_a_boot_that_ends_waits_no_longer_for_memory_that_ranks_have(node, monkeypatch, tmp_path):
    monkeypatch.setattr("replica_agent.arenas.by_plan.LETTING_GO", LONG)
    monkeypatch.setattr("replica_agent.boot.places.disk_for", lambda *_: tmp_path)
    with booting(node, "cpu", memory_limit=int(1.4 * len(CONTENT))) as way:
        socket, began = read_place(way.prepare()["llm"]).socket, time.monotonic()
        with (
            attach(socket, "llm", rank=0, peers=2, adopts=True),
            attach(socket, "llm", rank=1, peers=2, adopts=True) as other,
        ):
            looked, held = threading.Event(), way._memory._held
            way._memory._held = lambda: (held(), looked.set())[0]
            other.refuse("not what I read")
            assert looked.wait(LONG)
            way.release()
        assert time.monotonic() - began < LONG
        assert "memory does not suffice: the weights are on local disk" in way.pull.notes


def test_small_files_of_memory_that_was_given_up_meanwhile_are_written_again(node, monkeypatch):
    written = []

    def after_it_was_given_up(transfer, home):
        if not written:
            way.pulling.again("of no use", transfer)
            way.pulling.transfer(after=transfer)
        directories = write_small_files(transfer, home)
        written.append((directories["llm"] / "config.json").read_bytes())
        return directories

    monkeypatch.setattr("replica_agent.boot.by_memory.write_small_files", after_it_was_given_up)
    with booting(node, "cpu") as way:
        way.prepare()
    assert written == [b"", b"{}"]


def test_a_boot_that_had_no_list_leaves_what_the_node_has_no_better_word_on(node):
    first, second = sent = planned.plans(CONTENT)
    node.plans = {("llm", first.key.digest): dump_plan(plain(first.key))}
    node.faults.plans = b"[]"
    with booting(node, "cpu") as way:
        socket = read_place(way.prepare()["llm"]).socket
        assert "weights come as plain files" in "; ".join(way.pull.notes)
        node.faults.plans = None
        for plan in sent:
            load_and_send(socket, plan)
        assert way.taken(LONG)
        assert list(way.leave()) == []
    assert sorted(node.plans.values()) == sorted([dump_plan(plain(first.key)), dump_plan(second)])


def load_and_send(socket, plan):
    """Load plain files, as a rank does, and say what it read; all ranks are this process."""
    with attach(socket, "llm", rank=plan.key.rank, peers=1, adopts=True) as attached:
        attached.wait_confirmed()
        attached.send_plan(dump_plan(plan))
        attached.done(Outcome.LOADED, 1.0)
