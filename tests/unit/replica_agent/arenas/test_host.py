import fcntl
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.manifest import File, Model
from cache_protocol.ranges import Span
from replica_agent.arenas.host import PAGE, HostArena, place_files


def model(*sizes):
    files = (File(str(n), size, None, ("u",), "d", "v") for n, size in enumerate(sizes))
    return Model("file:///x", "1", tuple(files))


def put(arena, file, span, data):
    room = arena.room(file, span)
    room[:] = data
    arena.store(file, span, room)


def test_bytes_are_seen_through_a_view_and_through_the_descriptor():
    arena = HostArena("x", model(10, 5000))
    put(arena, 1, Span(4000, 4004), b"abcd")
    assert bytes(arena.view(1)[4000:4004]) == b"abcd"
    assert os.pread(arena.fd, 4, arena.places[1] + 4000) == b"abcd"
    arena.close()


def test_the_memory_can_be_neither_shrunk_nor_grown():
    arena = HostArena("x", model(10))
    for size in (0, 2**30):
        with pytest.raises(PermissionError):
            os.ftruncate(arena.fd, size)
    arena.close()


def test_the_descriptor_is_not_inherited():
    arena = HostArena("x", model(1))
    assert fcntl.fcntl(arena.fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    arena.close()


def test_a_view_outlives_the_arena():
    arena = HostArena("x", model(3))
    put(arena, 0, Span(0, 3), b"abc")
    view = arena.view(0)
    arena.close()
    arena.close()
    del arena
    assert view == b"abc"


def test_a_model_without_bytes_has_an_arena():
    arena = HostArena("x", model(0))
    assert arena.view(0) == b""
    arena.close()


@given(st.lists(st.integers(0, 10**6), max_size=20))
def test_files_begin_at_pages_and_never_overlap(sizes):
    places = place_files(sizes)
    assert all(place % PAGE == 0 for place in places)
    assert all(a + n <= b for a, n, b in zip(places, sizes, places[1:], strict=False))


def test_a_number_is_not_closed_while_it_is_sealed(monkeypatch):
    arena = HostArena("x", model(10))
    held = []
    monkeypatch.setattr(
        "replica_agent.arenas.host.seal", lambda fd: held.append((fd, arena._closing.locked()))
    )
    fd = arena.fd
    arena.seal()
    arena.close()
    arena.seal()
    assert held == [(fd, True), (-1, True)]
