"""Who waits for origins, and in how many places."""

from contextlib import ExitStack

import pytest

from cache_protocol.errors import BusyError
from cache_server.doors.s3.waits import Waits


def taken(stack: ExitStack, waits: Waits, tenant: str) -> int:
    """Take as many places as ``tenant`` gets; return how many these are."""
    count = 0
    while True:
        try:
            stack.enter_context(waits.place(tenant))
        except BusyError:
            return count
        count += 1


def test_one_tenant_alone_gets_half():
    with ExitStack() as stack:
        assert taken(stack, Waits(8), "greedy") == 4


def test_whoever_comes_later_finds_a_place_however_greedy_the_others_are():
    waits = Waits(64)
    with ExitStack() as stack:
        got = [taken(stack, waits, f"tenant-{number}") for number in range(6)]
    assert got == [32, 16, 8, 4, 2, 1]


def test_places_that_were_given_back_can_be_taken_again():
    waits = Waits(8)
    for _ in range(3):
        with ExitStack() as stack:
            assert taken(stack, waits, "greedy") == 4


def test_a_refusal_says_who_waits():
    waits = Waits(8)
    with ExitStack() as stack:
        taken(stack, waits, "greedy")
        with pytest.raises(BusyError, match="4 of them of tenant greedy; come back"):
            stack.enter_context(waits.place("greedy"))
