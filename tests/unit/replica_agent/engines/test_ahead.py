import threading

import pytest

from replica_agent.engines.ahead import Ahead


def ahead(items, improve=lambda item: item, window=8, workers=1):
    return Ahead(iter(items), improve, window=window, workers=workers).running()


def none_left():
    return not any(thread.name.endswith("ahead") for thread in threading.enumerate())


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_items_come_in_order_each_once_improved_or_not(workers):
    with ahead(range(100), lambda n: n + 0.5, workers=workers) as items:
        assert [int(item) for item in items] == list(range(100))
    assert none_left()


def test_what_is_not_asked_for_yet_is_improved():
    improved = threading.Event()

    def improve(item):
        if item == "second":
            improved.set()
        return item.upper()

    def items():
        yield "first"
        yield "second"

    with ahead(items(), improve) as given:
        assert next(given).lower() == "first"
        assert improved.wait(10)
        assert list(given) in (["SECOND"], ["second"])  # the thread has only just begun to


def test_an_item_is_improved_before_the_next_is_asked_for():
    done = [threading.Event() for _ in range(3)]

    def improve(item):
        done[item].set()
        return item

    with ahead(range(3), improve) as items:
        assert all(event.wait(10) for event in done)
        assert list(items) == [0, 1, 2]


def test_who_asks_does_not_wait_for_an_improvement():
    never = threading.Event()
    began = threading.Event()

    def improve(item):
        began.set()
        never.wait()
        return item

    with ahead([1], improve) as items:
        assert began.wait(10)
        assert list(items) == [1]
        never.set()


def test_no_more_than_the_window_is_read_ahead():
    read = []

    def items():
        for n in range(10):
            read.append(n)
            yield n

    with ahead(items(), window=2, workers=0) as given:
        for n in given:
            assert len(read) <= n + 1 + 2 + 1  # taken, in the window, and one in the reader's hand
    assert len(read) == 10


def test_an_error_of_the_items_comes_after_those_before_it():
    def items():
        yield 1
        raise OSError("gone")

    with ahead(items()) as given:
        assert next(given) == 1
        with pytest.raises(OSError, match="gone"):
            next(given)


def test_who_stops_early_leaves_nobody_reading():
    items = iter(range(1000))
    with ahead(items, window=4) as given:
        next(given)
    assert none_left()
    assert next(items) <= 7  # the rest is for whoever comes next


def test_when_a_thread_cannot_start_those_that_did_end(monkeypatch):
    start = threading.Thread.start

    def limited(thread):
        if thread.name == "work ahead":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError, match="new thread"), ahead(range(100)):
        pass
    assert none_left()
