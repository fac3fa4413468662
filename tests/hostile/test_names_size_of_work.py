"""Thousands of names, each hundreds of directories deep, try to make the check slow."""

import time

from cache_protocol.names import check_paths


def test_deep_names_cost_little_more_than_their_letters():
    deep = [f"{n}/" + "a/" * 500 + "b" for n in range(2000)]
    started = time.thread_time()
    check_paths(deep)
    assert time.thread_time() - started < 2  # 0.1 s on a quiet core


def test_a_name_of_combining_marks_alone_is_folded_at_once():
    marks = "a" + "\u0323\u0307" * 60
    started = time.thread_time()
    check_paths(f"{n}/{marks}/{marks}/{marks}" for n in range(2000))
    assert time.thread_time() - started < 2
