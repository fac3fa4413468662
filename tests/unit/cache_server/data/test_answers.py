"""The bound on answers that hang, on real sockets and a clock of the test's own."""

import socket
import time
from contextlib import ExitStack

import pytest

from cache_server.data.answers import Answers
from cache_server.data.limits import Limits
from cache_server.data.request import RefusedError
from cache_server.data.stats import Tally
from cache_server.data.wire import Wire

LIMITS = Limits(active=40, generation=6, hung=3, disk_time=10)


class Clock:
    """Far ahead of the real one by ``ahead`` seconds."""

    ahead = 0.0

    def __call__(self):
        return time.monotonic() + self.ahead


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def answers(clock):
    return Answers(LIMITS, clock)


@pytest.fixture
def wire(stack):
    """Make a wire over a socket that takes bytes, or with ``full`` one that takes none."""

    def make(*, full=False):
        ours, theirs = socket.socketpair()
        stack.callback(ours.close)
        stack.callback(theirs.close)
        while full:
            try:
                ours.send(bytes(2**16), socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
        return Wire(ours, Tally())

    return make


def begin(stack, answers, generation, wire, *, at_the_disk=False):
    stack.enter_context(answers.admitted(generation, wire))
    if at_the_disk:
        stack.enter_context(wire.at_the_disk())


def refusal(answers, generation, wire):
    with pytest.raises(RefusedError) as raised, answers.admitted(generation, wire):
        pass
    return raised.value.status


def test_one_generation_does_not_take_all_threads(stack, answers, wire):
    for _ in range(LIMITS.generation):
        begin(stack, answers, "a", wire())
    assert refusal(answers, "a", wire()) == 429
    begin(stack, answers, "b", wire())


def test_no_thread_is_sent_after_those_that_hang_and_other_generations_are_served(
    stack, answers, wire, clock
):
    for _ in range(LIMITS.hung):
        begin(stack, answers, "a", wire(), at_the_disk=True)
    clock.ahead = LIMITS.disk_time + 1
    assert refusal(answers, "a", wire()) == 503
    begin(stack, answers, "b", wire())


def test_reads_that_take_their_time_do_not_count_as_hanging(stack, answers, wire, clock):
    for _ in range(LIMITS.hung):
        begin(stack, answers, "a", wire(), at_the_disk=True)
    clock.ahead = LIMITS.disk_time - 1
    begin(stack, answers, "a", wire())


def test_a_reader_that_takes_nothing_does_not_count_as_a_hanging_disk(stack, answers, wire, clock):
    for _ in range(LIMITS.hung):
        begin(stack, answers, "a", wire(full=True), at_the_disk=True)
    clock.ahead = LIMITS.disk_time + 1
    begin(stack, answers, "a", wire())


def test_with_a_quarter_of_all_threads_hanging_one_is_enough(stack, answers, wire, clock):
    for n in range(LIMITS.active // 4 + 1):
        begin(stack, answers, f"g{n // 2}", wire(), at_the_disk=True)
    clock.ahead = LIMITS.disk_time + 1
    assert refusal(answers, "g0", wire()) == 503
    begin(stack, answers, "other", wire())


def test_an_answer_that_is_over_counts_no_more(answers, wire):
    for _ in range(2 * LIMITS.generation):
        with answers.admitted("a", wire()):
            pass
