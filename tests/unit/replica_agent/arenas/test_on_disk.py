import gc
import os
from datetime import UTC, datetime

import pytest

from cache_protocol.errors import CapacityError
from cache_protocol.manifest import File, Lease, Manifest, Model
from cache_protocol.ranges import Span
from replica_agent.arenas.host import HostMemory
from replica_agent.arenas.links import LinkedMemory

SIZE = 3_000_000


def manifest(size=SIZE):
    file = File("m.safetensors", size, None, ("http://n/f",), "http://n/d", "http://n/v")
    models = {"llm": Model("file:///llm", "1", (file,))}
    return Manifest("voice", "0" * 32, Lease("l", datetime.now(UTC)), models)


def fill(arena, data):
    for begin in range(0, len(data), 2**20):
        span = Span(begin, min(begin + 2**20, len(data)))
        room = arena.room(0, span)
        room[:] = data[begin : span.end]
        arena.store(0, span, room)
    arena.confirm(0)


def test_a_model_beyond_the_limit_goes_to_a_file_without_a_name(tmp_path):
    memory = HostMemory(1000, lambda need: tmp_path if need >= SIZE else None)
    arena = memory.open_arenas(manifest())["llm"]
    fill(arena, os.urandom(SIZE))
    assert memory.on_disk
    assert not list(tmp_path.iterdir())
    assert os.readlink(f"/proc/self/fd/{arena.fd}").startswith(str(tmp_path))
    again = os.open(f"/proc/self/fd/{arena.fd}", os.O_RDONLY)  # as the hand-over opens it
    assert os.pread(again, SIZE, 0) == arena.view(0)
    os.close(again)
    memory.forget()


def test_a_model_that_fits_stays_in_memory(tmp_path):
    memory = HostMemory(2 * SIZE, lambda _: tmp_path)
    memory.open_arenas(manifest())
    assert not memory.on_disk
    memory.forget()


def test_where_no_disk_has_room_either_both_are_said():
    with pytest.raises(CapacityError, match=r"allowed here; no local disk"):
        HostMemory(1000).open_arenas(manifest())


def test_what_is_forgotten_is_unmapped_and_closed():
    memory = HostMemory(2 * SIZE)
    memory.open_arenas(manifest())
    memory.forget()
    gc.collect()
    with open("/proc/self/maps") as maps:
        assert "memfd:llm" not in maps.read()


# A memfd for each file.


@pytest.fixture
def linked():
    memory = LinkedMemory(2 * SIZE)
    yield memory
    memory.drop()


def test_a_linked_file_opens_under_its_path_with_its_exact_size(linked):
    arena = linked.open_arenas(manifest())["llm"]
    data = os.urandom(SIZE)
    fill(arena, data)
    assert arena.path(0).read_bytes() == data
    assert arena.path(0).stat().st_size == SIZE


def test_nobody_can_write_to_a_linked_file_that_is_confirmed(linked):
    arena = linked.open_arenas(manifest())["llm"]
    fill(arena, bytes(SIZE))
    fd = os.open(arena.path(0), os.O_RDWR)
    with pytest.raises(PermissionError):
        os.write(fd, b"x")
    os.close(fd)


def test_closing_keeps_what_was_confirmed_and_dropping_does_not(linked):
    arena = linked.open_arenas(manifest())["llm"]
    fill(arena, bytes(SIZE))
    arena.close()
    path = arena.path(0)
    assert path.exists()
    arena.drop(0)
    assert not path.exists()


def test_closing_gives_up_what_was_not_confirmed(linked):
    arena = linked.open_arenas(manifest())["llm"]
    path = arena.path(0)
    arena.close()
    assert not path.exists()


def test_an_empty_file_has_a_link_too(linked):
    arena = linked.open_arenas(manifest(0))["llm"]
    arena.confirm(0)
    assert arena.path(0).read_bytes() == b""
