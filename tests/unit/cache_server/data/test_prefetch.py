import threading
from itertools import pairwise

import pytest

from cache_protocol.ranges import Span
from cache_server.data.prefetch import FILES, WAITING, WINDOW, Prefetch

MIB = 2**20
PART = 32 * MIB
SIZE = 1024 * MIB


class Kept:
    """Stands for a whole file; its disk answers when it may."""

    etag = '"x"'
    size = SIZE

    def __init__(self, answers=None):
        self.answers = answers or threading.Event()
        self.opened = threading.Event()

    def open(self):
        self.opened.set()
        self.answers.wait()
        raise OSError("there is no such disk")


def spans(prefetch, *begins, key="a"):
    return [prefetch._next(key, Span(b * MIB, b * MIB + PART), SIZE) for b in begins]


def test_the_pages_behind_each_part_are_read_once_and_without_a_gap():
    asked = [s for s in spans(Prefetch(), *range(0, 1024, 32)) if s.size]
    assert asked[0] == Span(PART, PART + WINDOW)
    assert all(a.end == b.begin for a, b in pairwise(asked))
    assert asked[-1].end == SIZE


def test_parts_that_several_lanes_ask_for_slightly_out_of_order_are_one_reader():
    in_order, mixed = Prefetch(), Prefetch()
    spans(in_order, 0, 32, 64, 96)
    spans(mixed, 0, 64, 32, 96)
    assert spans(in_order, 128) == spans(mixed, 128)


def test_a_reader_that_jumps_about_has_nothing_read_for_it():
    prefetch = Prefetch()
    spans(prefetch, 0)
    assert [s.size for s in spans(prefetch, 900, 400, 700)] == [0, 0, 0]


def test_a_new_reader_has_it_read_again():
    prefetch = Prefetch()
    first = spans(prefetch, 0, 32, 64)
    assert spans(prefetch, 0, 32, 64) == first


def test_readers_of_two_files_do_not_mix():
    prefetch = Prefetch()
    first = spans(prefetch, 0, 32)
    assert spans(prefetch, 0, 32, key="b") == first


def test_only_so_many_files_are_remembered():
    prefetch = Prefetch()
    for n in range(FILES + 10):
        spans(prefetch, 0, key=n)
    assert len(prefetch._of_file) == FILES


@pytest.mark.parametrize("readers", [1, WAITING * 3])
def test_a_disk_that_hangs_or_fails_keeps_no_reader_waiting(readers):
    prefetch, file = Prefetch(), Kept()
    prefetch.start()
    for n in range(readers):
        prefetch.asked(n, file, Span(0, PART))
    assert file.opened.wait(10)
    file.answers.set()
    prefetch.close()
    prefetch._thread.join(10)
    assert not prefetch._thread.is_alive()
