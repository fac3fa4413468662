"""Turns of plans: one of a tenant, a few of all, and at a pace."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from fastapi import Request
from starlette.types import Message, Receive

from cache_protocol.errors import BusyError
from cache_protocol.plans import MAX_PLAN
from cache_server.http.plan_turns import AT_ONCE, LEAST, PACE, PATIENCE, PlanTurns, leaves_plan

PATH = "/v1/pipelines/voice/plans/m/" + "0" * 32
LONG = 30.0  # seconds; nothing here takes them


def request(method: str, path: str) -> Request:
    return Request({"type": "http", "method": method, "path": path, "headers": []})


async def gone() -> Message:
    """Receive of a peer that left before it sent anything."""
    return {"type": "http.disconnect"}


def body(size: int) -> Receive:
    """Receive of a peer that sends ``size`` bytes."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b" " * size}

    return receive


@pytest.mark.parametrize(
    ("sent", "pipeline"),
    [
        (request("PUT", PATH), "voice"),
        (request("POST", PATH), None),
        (request("PUT", "/v1/pipelines/voice"), None),
        (request("PUT", "/v1/pipelines/voice/plans/m"), None),
        (request("PUT", f"{PATH}/more"), None),
    ],
    ids=["plan", "other method", "other", "list", "below"],
)
def test_plans_and_nothing_else_take_turns(sent, pipeline):
    assert leaves_plan(sent) == pipeline


def test_one_of_a_tenant_has_its_turn_at_a_time():
    async def run() -> None:
        turns, order = PlanTurns(LONG), []

        async def one(name: str, until: asyncio.Event) -> None:
            async with turns.turn("t", gone):
                order.append(f"{name} begins")
                await until.wait()
                order.append(f"{name} ends")

        first, second = asyncio.Event(), asyncio.Event()
        second.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(one("a", first))
            tasks.create_task(one("b", second))
            await asyncio.sleep(0)
            first.set()
        assert order == ["a begins", "a ends", "b begins", "b ends"]

    asyncio.run(run())


def test_tenants_do_not_wait_for_each_other():
    async def run() -> None:
        turns = PlanTurns(1.0)
        async with turns.turn("one", body(MAX_PLAN)) as read, turns.turn("other", gone):
            await read()
        async with turns.turn("other", gone):
            pass

    asyncio.run(run())


def test_no_more_than_a_few_of_all_are_dealt_with_and_who_waits_too_long_is_told():
    async def run() -> None:
        turns = PlanTurns(0.01)
        async with AsyncExitStack() as taken:
            for n in range(AT_ONCE):
                await taken.enter_async_context(turns.turn(f"t{n}", gone))
            with pytest.raises(BusyError, match="no turn for a plan within 0 s"):
                await turns.turn("late", gone).__aenter__()
        async with turns.turn("late", gone):  # and it lost nothing by having asked
            pass

    asyncio.run(run())


def test_after_a_large_plan_its_tenant_waits_as_long_as_the_pace_has_it():
    async def run() -> None:
        turns, loop = PlanTurns(LONG), asyncio.get_running_loop()
        began = loop.time()
        async with turns.turn("t", body(PACE // 20)) as read:
            await read()
        async with turns.turn("t", gone):
            assert loop.time() - began > 0.045

    asyncio.run(run())


def test_small_plans_rest_as_well():
    async def run() -> None:
        turns, loop = PlanTurns(LONG), asyncio.get_running_loop()
        began = loop.time()
        async with turns.turn("t", gone):
            pass
        async with turns.turn("t", gone):
            assert loop.time() - began > 0.9 * (LEAST / PACE)

    asyncio.run(run())


def test_what_never_came_is_not_rested_from():
    async def run() -> None:
        turns = PlanTurns(1.0)
        async with turns.turn("t", body(MAX_PLAN)):
            pass  # it left, or was refused, before any of it was read
        async with turns.turn("t", gone) as read:
            await read()

    asyncio.run(run())


def test_who_comes_behind_the_largest_plan_waits_for_it_and_is_not_turned_away():
    assert MAX_PLAN / PACE < PATIENCE


def test_a_plan_that_took_long_to_come_is_not_rested_from_a_second_time(monkeypatch):
    async def run() -> None:
        turns, loop = PlanTurns(1.0), asyncio.get_running_loop()
        clock = loop.time
        async with turns.turn("t", body(MAX_PLAN)) as read:
            await read()
            monkeypatch.setattr(loop, "time", lambda: clock() + MAX_PLAN / PACE)
        async with turns.turn("t", gone):
            pass

    asyncio.run(run())


def test_who_leaves_while_waiting_takes_no_turn_along():
    async def run() -> None:
        turns = PlanTurns(LONG)
        async with AsyncExitStack() as taken:
            for n in range(AT_ONCE):
                await taken.enter_async_context(turns.turn(f"t{n}", gone))
            leaving = asyncio.create_task(turns.turn("late", gone).__aenter__())
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
            assert leaving.cancelled()
        async with turns.turn("late", gone):
            pass

    asyncio.run(run())
