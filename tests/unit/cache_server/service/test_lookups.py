import threading
from concurrent.futures import Future

import pytest

from cache_protocol.errors import BusyError
from cache_server.catalogue.registry import Key, Registration
from cache_server.core.content import ModelSpec
from cache_server.service import lookups as module
from cache_server.service.lookups import Lookups
from cache_server.service.slot import Slot
from tests.fakes.service import SOURCE


class Origins:
    """Answer when they are told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, Future[None]] = {}
        self.gone: set[str] = set()
        self.full = False
        self.lookups = Lookups(
            threading.RLock(), self.resolve, lambda s: s.registration.key.id not in self.gone
        )

    def resolve(self, slot: Slot) -> "Future[None]":
        if self.full:
            raise BusyError("no further thread can be started")
        name = slot.registration.key.id
        self.asked.append(name)
        self.answers[name] = Future()
        return self.answers[name]

    def ask(self, *names: str, tenant: str = "red") -> None:
        for name in names:
            self.lookups.ask(Slot(Registration(Key(tenant, name), (ModelSpec("m", SOURCE),))))

    def answer(self, name: str) -> None:
        self.answers[name].set_result(None)


@pytest.fixture
def origins(monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 3)
    monkeypatch.setattr(module, "OF_TENANT", 2)
    return Origins()


def test_of_one_tenant_a_few_are_asked_at_once_and_the_others_in_order(origins):
    origins.ask("a", "b", "c", "d")
    assert origins.asked == ["a", "b"]
    origins.answer("b")
    origins.answer("a")
    assert origins.asked == ["a", "b", "c", "d"]


def test_a_tenant_with_many_leaves_turns_for_others(origins):
    origins.ask("a", "b", "c", "d")
    origins.ask("x", "y", tenant="blue")
    assert origins.asked == ["a", "b", "x"]
    origins.answer("a")
    origins.answer("b")
    assert origins.asked[3:] == ["c", "y"]  # in turn, where both have as many under way


def test_what_was_removed_or_replaced_meanwhile_is_not_asked(origins):
    origins.ask("a", "b", "c", "d")
    origins.gone = {"c"}
    origins.answer("a")
    assert origins.asked == ["a", "b", "d"]


def test_what_cannot_begin_is_left_to_the_first_request(origins):
    origins.ask("a", "b", "c")
    origins.full = True
    origins.answer("a")
    origins.ask("x", tenant="blue")
    origins.full = False
    origins.ask("y", tenant="blue")
    assert origins.asked == ["a", "b", "y"]


def test_at_the_end_nothing_more_is_asked(origins):
    origins.ask("a", "b", "c")
    origins.lookups.close()
    origins.answer("a")
    assert origins.asked == ["a", "b"]
