import mmap
import os

import pytest

from benchmarks import disk
from benchmarks.children import ChildError, result_of, serving
from benchmarks.memory import pieces
from benchmarks.resident import memory_of, watching
from cache_protocol.ranges import Span

LANES = 2


@pytest.fixture
def files(tmp_path):
    made = [tmp_path / "a", tmp_path / "b"]
    for n, path in enumerate(made):
        path.write_bytes(os.urandom(2_000_000 + n))
    return made


def test_pieces_cover_every_byte_of_every_file_once(files):
    found = list(pieces(files, 700_001))
    assert sum(piece.span.size for piece in found) == 4_000_001
    at = 0
    for piece in found:
        assert piece.at == at
        at += piece.span.size
    assert found[0].span == Span(0, 700_001)


def test_the_floor_moves_all_bytes_between_two_processes(files):
    with serving("benchmarks.floor", "send", *files) as port:
        assert result_of("benchmarks.floor", "receive", port, LANES, *files) > 0


def test_the_disk_floor_reads_and_writes(files, tmp_path):
    assert disk.read(files, LANES) > 0
    assert disk.write(tmp_path, [1_000_000, 1], LANES) > 0
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


def test_a_child_that_fails_says_its_last_words():
    with pytest.raises(ChildError, match="No such file"):
        result_of("benchmarks.disk", LANES, "/does/not/exist")


def test_growth_counts_what_a_process_allocates_itself():
    before = memory_of("self", "RssAnon")
    with mmap.mmap(-1, 50_000_000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as held:  # never reused
        held.write(b"x" * len(held))
        assert memory_of("self", "RssAnon") - before > 40_000_000


def test_growth_is_never_below_what_was_there_at_the_start():
    with watching(os.getpid()) as growth:
        pass
    assert growth.size >= 0
