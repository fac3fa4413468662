import gc
import os
from itertools import pairwise

import pytest

from cache_protocol.errors import CapacityError
from cache_protocol.manifest import File, Model
from cache_protocol.ranges import Span
from replica_agent.arenas import striped
from replica_agent.arenas.host import HostArena
from replica_agent.arenas.striped import StripedArena, striped_arena

SMALL = 2**16  # bytes of a stripe, so that a little has many
CONTENT = os.urandom(20 * SMALL + 5)


@pytest.fixture(autouse=True)
def _small_stripes(monkeypatch):
    monkeypatch.setattr(striped, "STRIPE", SMALL)


def model(*sizes):
    names = (f"{n}.bin" for n in range(len(sizes)))
    files = (File(n, s, None, ("u",), "d", "v") for n, s in zip(names, sizes, strict=True))
    return Model("file:///m", "1", tuple(files))


def filled():
    arena = StripedArena("x", model(3, len(CONTENT), 0))
    arena.store(1, Span(0, len(CONTENT)), memoryview(CONTENT))
    return arena


def memfds():
    links = (f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd"))
    return [t for t in map(os.path.realpath, links) if "memfd:x-" in t]


def test_a_file_over_all_memfds_is_one_range_of_bytes():
    arena = filled()
    assert bytes(arena.view(1)) == CONTENT
    assert (len(arena.view(0)), len(arena.view(2))) == (3, 0)
    arena.close()


def test_views_outlive_the_arena_and_no_descriptor_does():
    arena = filled()
    view = arena.view(1)
    assert len(memfds()) == striped.MEMFDS
    arena.close()
    arena.forget()
    del arena
    gc.collect()
    assert not memfds()
    assert bytes(view) == CONTENT


def test_nobody_can_write_to_what_is_sealed():
    arena = filled()
    arena.seal()
    with pytest.raises(CapacityError, match="Operation not permitted"):
        arena.store(1, Span(0, 5), memoryview(CONTENT)[:5])
    assert bytes(arena.view(1)) == CONTENT
    arena.close()
    arena.seal()  # nothing happens


def test_memory_goes_with_the_last_view():
    def mapped():
        with open("/proc/self/maps") as maps:
            return sum("memfd:x-" in line for line in maps)

    arena = filled()
    view = arena.view(1)
    arena.forget()
    del arena
    gc.collect()
    assert mapped()
    del view
    gc.collect()
    assert not mapped()


def test_a_kernel_that_maps_no_more_leaves_nothing_behind(monkeypatch):
    monkeypatch.setattr(striped, "_MAP_FIXED", 0x100000)  # not over what is mapped
    with pytest.raises(OSError, match="a stripe cannot be mapped"):
        StripedArena("x", model(9))
    assert not memfds()


def test_where_there_is_a_disk_to_use_it_is_a_file(tmp_path):
    arena = striped_arena("x", model(9), tmp_path)
    assert type(arena) is HostArena
    arena.close()


@pytest.mark.skipif(
    not os.path.isdir("/sys/kernel/mm/transparent_hugepage"), reason="a kernel without huge pages"
)
def test_huge_pages_are_asked_for_over_every_stripe():
    arena = filled()
    with open("/proc/self/smaps") as lines:
        flags = [line.split() for line in lines if "memfd:x-" in line or "VmFlags" in line]
    ours = [after for line, after in pairwise(flags) if "memfd:x-" in line[-2]]
    arena.close()
    assert len(ours) > striped.MEMFDS
    assert all("hg" in each for each in ours)
