"""The contract of `ports.Arena`: one suite for every arena, and for the CUDA one on two drivers.

The driver is the fake one, or with `-m gpu` that of this host.
"""

import gc
import os
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from cache_protocol.digests import CHUNK_SIZE, chunk_count, chunk_span
from cache_protocol.manifest import File, Lease, Manifest, Model
from cache_protocol.ranges import Span, cut
from replica_agent.arenas.by_plan import HOST, Choice, LaidOutMemory
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.memory import DeviceMemory
from replica_agent.arenas.cuda.ranks import RankDevices
from replica_agent.arenas.directory import Destination
from replica_agent.arenas.host import HostMemory
from replica_agent.arenas.links import LinkedMemory
from replica_agent.arenas.striped import striped_arena
from replica_agent.contents import content_of
from replica_agent.core.devices import Placement
from replica_agent.lanes import DEPTH, PIECE
from replica_agent.ports import HELD
from tests.fakes import planned
from tests.fakes.cuda_driver import FakeDriver

LANES = 1
BIG = os.urandom(3 * CHUNK_SIZE + 77)  # more chunks than the ring of a lane has slots
SMALL = b'{"layers": 1}'


@dataclass
class Adapter:
    """A kind of arena, and how what it holds is read once it is confirmed."""

    memory: Any
    read: Any
    gives_back: bool = True  # what it was given, to who checks a whole file

    def open(self, *contents):
        files = tuple(
            File(f"{n}.bin", len(content), None, ("http://n/f",), "http://n/d", "http://n/v")
            for n, content in enumerate(contents)
        )
        models = {"llm": Model("file:///llm", "1", files)}
        self.model = models["llm"]
        manifest = Manifest("voice", "0" * 32, Lease("l", datetime.now(UTC)), models)
        return self.memory.open_arenas(manifest)["llm"]


def viewed(arena, file):
    return bytes(content_of(arena, file, "cpu")[:])


def host(tmp_path):
    memory = HostMemory(2**30)
    yield Adapter(memory, viewed)
    memory.forget()


def striped(tmp_path):
    memory = HostMemory(2**30, make=striped_arena)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replica_agent.arenas.striped.STRIPE", 2**18)  # less than a piece
        yield Adapter(memory, viewed)
    memory.forget()


def laid_out(tmp_path, layer=HOST, driver=None):
    choose = lambda manifest: {"llm": Choice(planned.halves(manifest.models["llm"]), "", layer)}  # noqa: E731
    memory = LaidOutMemory(2**30, lambda _: None, choose)
    adapter = Adapter(memory, None, gives_back=False)
    adapter.read = lambda arena, file: planned.rejoined(arena, adapter.model, file, driver)
    yield adapter
    memory.forget()
    adapter.memory = None
    # Of a generation after the first, plain files; of the first one no complaint.
    assert all(note == "llm: " or note.startswith("brought again") for note in memory.notes)


def disk(tmp_path):
    memory = HostMemory(0, lambda _: tmp_path)
    yield Adapter(memory, viewed)
    memory.forget()


def directory(tmp_path):
    memory = Destination(tmp_path)
    yield Adapter(memory, lambda _, file: (tmp_path / f"llm/{file}.bin").read_bytes())
    memory.close()


def linked(tmp_path):
    memory = LinkedMemory(2**30)
    yield Adapter(memory, lambda arena, file: arena.path(file).read_bytes())
    memory.drop()


def cuda(load):
    return DeviceMemory(Placement("cuda:0"), HostMemory(0), LANES, load)


def fake(tmp_path):
    driver = FakeDriver()
    adapter = Adapter(cuda(lambda: driver), viewed)
    yield adapter
    adapter.memory = None
    gc.collect()
    driver.check_clean()


def device(tmp_path):
    yield Adapter(cuda(load_driver), viewed)


def fake_shards(tmp_path):
    driver = FakeDriver(devices=2)
    yield from laid_out(tmp_path, RankDevices("cuda:1,0", LANES, lambda: driver).layer, driver)
    gc.collect()
    driver.check_clean()


def shards(tmp_path):
    yield from laid_out(tmp_path, RankDevices("cuda:0,0", LANES).layer, load_driver())


KINDS = [
    host,
    striped,
    laid_out,
    disk,
    directory,
    linked,
    fake,
    fake_shards,
    pytest.param(device, marks=pytest.mark.gpu),
    pytest.param(shards, marks=pytest.mark.gpu),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def adapter(request, tmp_path):
    yield from request.param(tmp_path)


def put(arena, file, chunk, content):
    """Store a chunk as a lane does."""
    for piece in cut(chunk_span(chunk, len(content)), PIECE):
        room = arena.room(file, piece)
        assert len(room) == piece.size
        room[:] = content[piece.begin : piece.end]
        arena.store(file, piece, room)


def accept(arena, file, chunk, content):
    arena.accept(file, chunk_span(chunk, len(content)))


def fill(arena, file, content, chunks=None):
    for chunk in range(chunk_count(len(content))) if chunks is None else chunks:
        put(arena, file, chunk, content)
        accept(arena, file, chunk, content)


def test_what_was_accepted_is_there_once_it_is_confirmed(adapter):
    arena = adapter.open(BIG)
    fill(arena, 0, BIG)
    arena.confirm(0)
    assert adapter.read(arena, 0) == BIG
    arena.close()


def test_chunks_may_come_in_any_order(adapter):
    arena = adapter.open(BIG)
    fill(arena, 0, BIG, chunks=(2, 0, 3, 1))
    arena.confirm(0)
    assert adapter.read(arena, 0) == BIG
    arena.close()


def test_files_do_not_touch_each_other(adapter):
    contents = (SMALL, BIG, b"x" * (CHUNK_SIZE + 1))
    arena = adapter.open(*contents)
    for file in (2, 0, 1):
        fill(arena, file, contents[file])
        arena.confirm(file)
    assert [adapter.read(arena, n) for n in range(3)] == list(contents)
    arena.close()


def test_a_file_without_bytes_can_be_confirmed(adapter):
    arena = adapter.open(b"", SMALL)
    arena.confirm(0)
    fill(arena, 1, SMALL)
    arena.confirm(1)
    assert adapter.read(arena, 0) == b""
    arena.close()


def test_accepted_bytes_can_be_read_before_the_file_is_confirmed(adapter):
    arena = adapter.open(BIG)
    fill(arena, 0, BIG, chunks=(1, 2))
    span = Span(CHUNK_SIZE + 5, 2 * CHUNK_SIZE + 9)
    if adapter.gives_back:
        assert bytes(arena.read(0, span)) == BIG[span.begin : span.end]
    else:
        with pytest.raises(OSError, match="went to ranks"):
            arena.read(0, span)
    arena.close()


def test_a_chunk_whose_digest_was_wrong_is_stored_again(adapter):
    arena = adapter.open(BIG)
    put(arena, 0, 0, bytes(len(BIG)))
    fill(arena, 0, BIG)
    arena.confirm(0)
    assert adapter.read(arena, 0) == BIG
    arena.close()


def test_a_chunk_that_broke_off_is_stored_again_after_another(adapter):
    arena = adapter.open(BIG)
    piece = Span(0, PIECE)
    arena.store(0, piece, arena.room(0, piece))
    fill(arena, 0, BIG, chunks=(3, 0, 1, 2))
    arena.confirm(0)
    assert adapter.read(arena, 0) == BIG
    arena.close()


def test_a_lane_receives_two_chunks_by_turns(adapter):
    arena = adapter.open(BIG)
    for pair in ((0, 1), (3, 2)):
        spans = [list(cut(chunk_span(n, len(BIG)), PIECE)) for n in pair]
        for piece in (*spans[0][:1], *spans[1], *spans[0][1:]):
            room = arena.room(0, piece)
            room[:] = BIG[piece.begin : piece.end]
            arena.store(0, piece, room)
        for chunk in pair:
            accept(arena, 0, chunk, BIG)
    arena.confirm(0)
    assert adapter.read(arena, 0) == BIG
    arena.close()


def test_a_lane_asks_for_no_more_chunks_than_an_arena_holds_for_it():
    assert DEPTH <= HELD


def test_an_accepted_chunk_may_come_again_with_other_content(adapter):
    arena = adapter.open(BIG)
    fill(arena, 0, bytes(len(BIG)))
    fill(arena, 0, BIG)
    arena.confirm(0)
    assert adapter.read(arena, 0) == BIG
    arena.close()


def test_lanes_write_side_by_side(adapter):
    arena = adapter.open(BIG, BIG[::-1])
    lanes = [
        threading.Thread(target=fill, args=(arena, n, content))
        for n, content in enumerate((BIG, BIG[::-1]))
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    for file in range(2):
        arena.confirm(file)
    assert [adapter.read(arena, n) for n in range(2)] == [BIG, BIG[::-1]]
    arena.close()


def test_an_arena_is_closed_in_the_middle_and_more_than_once(adapter):
    arena = adapter.open(BIG)
    fill(arena, 0, BIG, chunks=(0,))
    put(arena, 0, 1, BIG)
    arena.close()
    arena.close()


def test_an_arena_that_was_never_written_to_is_closed(adapter):
    adapter.open(BIG, b"").close()


def test_the_next_generation_has_arenas_of_its_own(adapter):
    first = adapter.open(BIG)
    fill(first, 0, BIG, chunks=(0, 1))
    first.close()
    second = adapter.open(SMALL)
    fill(second, 0, SMALL)
    second.confirm(0)
    assert adapter.read(second, 0) == SMALL
    second.close()
