import logging
import threading

from cache_protocol.errors import DiskError
from cache_server.upkeep import Upkeep


def test_a_chore_that_fails_keeps_no_other_from_being_done():
    done = []

    def fail():
        raise DiskError("sick")

    Upkeep([fail, lambda: done.append(1)]).round()
    assert done == [1]


def test_a_failure_is_said_once_until_it_is_over_or_another_one(caplog):
    words = ["sick", "sick", "", "sick", "dead"]

    def chore():
        if word := words.pop(0):
            raise DiskError(word)

    upkeep = Upkeep([chore])
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            upkeep.round()
    assert [r.getMessage().partition(";")[0] for r in caplog.records] == ["sick", "sick", "dead"]


def test_chores_are_done_until_it_is_closed():
    twice = threading.Event()
    rounds = []

    def chore():
        rounds.append(1)
        if len(rounds) == 2:
            twice.set()

    upkeep = Upkeep([chore], interval=0.01)
    upkeep.start()
    assert twice.wait(20)
    upkeep.close()
    seen = len(rounds)
    assert not upkeep._thread.is_alive()
    assert len(rounds) == seen


def test_one_that_was_never_started_can_be_closed():
    Upkeep([]).close()
