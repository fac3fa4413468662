import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from cache_server.fill import turns as module
from cache_server.fill.turns import Turns

LIMIT = 30.0  # seconds; nothing here takes one


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "TICK", 0.01)


def test_a_tenant_that_has_all_turns_and_wants_more_lets_another_one_go_first():
    turns, order = Turns(2), []
    waits = {tenant: threading.Event() for tenant in ("greedy", "modest")}

    def go(tenant: str) -> None:
        with turns.turn(tenant, waits[tenant].set):
            order.append(tenant)

    with ThreadPoolExecutor(2) as pool, turns.turn("greedy", lambda: None), ExitStack() as held:
        held.enter_context(turns.turn("greedy", lambda: None))
        for tenant, waiting in waits.items():
            pool.submit(go, tenant)
            assert waiting.wait(LIMIT)
        held.close()  # one turn is free, and both want it
        pool.shutdown()
    assert order == ["modest", "greedy"]
    assert turns.taken == 0


def test_who_stops_waiting_takes_no_turn():
    turns = Turns(1)

    def leave() -> None:
        raise TimeoutError

    with turns.turn("a", leave):
        with pytest.raises(TimeoutError), turns.turn("b", leave):
            pass
        assert turns.taken == 1
    with turns.turn("b", leave):
        assert turns.taken == 1
