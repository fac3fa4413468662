"""Anything an operator, a replica or a crash can do, in any order, against a model of it."""

import shutil
import tempfile
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cache_protocol.errors import (
    CapacityError,
    OriginDeniedError,
    SlotInUseError,
    UnknownPipelineError,
)
from cache_server.catalogue.registry import Key
from cache_server.core.content import ModelSpec
from cache_server.core.ledger import BLOCK, room
from cache_server.service.housekeeping import Housekeeping
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import Clock, pattern, running_service

HOT = timedelta(hours=48).total_seconds()
CAPACITY = 8 * BLOCK
NAMES = ["a", "b", "c", "d"]
SIZES = {"a": 1, "b": 2, "c": 3, "d": 5}  # blocks of weights; one more is booked for each file
names = st.sampled_from(NAMES)


def key(name: str) -> Key:
    return Key("default", name)


class LifeOfANode(RuleBasedStateMachine):
    """What the policy is allowed to take is decided here a second time, in plain words."""

    @initialize()
    def start(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="warmline-life-"))
        self.sources = {
            f"file:///{n}": MemoryOrigin({"w.dat": pattern(SIZES[n] * BLOCK)}) for n in NAMES
        }
        self.clock = Clock()
        self.registered: dict[str, bool] = {}  # name to pinned
        self.asked: dict[str, float] = {}
        self.leases: dict[str, list[str]] = {}
        self.stack = ExitStack()
        self._run([])
        for name in NAMES:
            self.register(name, warm=False)

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()
            shutil.rmtree(self.directory)

    # What happens.

    @rule(name=names, warm=st.booleans())
    def register(self, name: str, *, warm: bool) -> None:
        with self._nobody_is_wronged(name):
            models = (ModelSpec("m", f"file:///{name}"),)
            self.service.pipelines.put(key(name), models, pinned=None, warm=warm)
            self.bench.resolved(key(name))
            self.bench.settle(key(name))
        self.registered.setdefault(name, False)

    @rule(name=names)
    def fill(self, name: str) -> None:
        """Nobody asks for it: it is not hot."""
        if name in self.registered:
            with self._nobody_is_wronged(name):
                self._warm(name)

    @rule(name=names)
    def fill_that_fails(self, name: str) -> None:
        if name not in self.registered or self._is_warm(name):
            return
        origin = self.sources[f"file:///{name}"]
        with self._nobody_is_wronged(name):
            origin.deny(OriginDeniedError("no"))
            self._warm(name)
            origin.deny(None)

    @rule(name=names)
    def read(self, name: str) -> None:
        if name not in self.registered:
            return
        with self._nobody_is_wronged(name):
            error = self.service.ensure(key(name)).exception(30)
            self.bench.settle(key(name))
        self.asked[name] = self.clock.seconds
        if error is None:
            generation = self.bench.open(key(name))
            self.leases.setdefault(name, []).append(self.service.grant(key(name), generation).id)
            assert self.bench.read("w.dat", generation) == pattern(SIZES[name] * BLOCK)

    @rule(name=names)
    def give_back(self, name: str) -> None:
        for lease in self.leases.pop(name, []):
            self.service.leases.give_back(lease)

    @rule(name=names)
    def touch(self, name: str) -> None:
        if name in self.registered:
            self.service.touch(key(name))
            self.asked[name] = self.clock.seconds

    @rule(name=names, pinned=st.booleans())
    def pin(self, name: str, *, pinned: bool) -> None:
        if name in self.registered:
            self.service.pipelines.pin(key(name), pinned=pinned)
            self.registered[name] = pinned

    @rule(name=names, force=st.booleans())
    def evict(self, name: str, *, force: bool) -> None:
        self._take_away(name, force=force, by=self.service.removal.evict)

    @rule(name=names, force=st.booleans())
    def remove(self, name: str, *, force: bool) -> None:
        if self._take_away(name, force=force, by=self.service.removal.remove):
            del self.registered[name]
            self.asked.pop(name, None)

    @rule(hours=st.sampled_from([1, 20, 49]))
    def wait(self, hours: int) -> None:
        self.clock.advance(hours * 3600)
        self.leases.clear()  # 120 s are over

    @rule(hours=st.sampled_from([-17520, -2, 2, 17520]))
    def set_the_wall_clock(self, hours: int) -> None:
        self.clock.wall_ahead += timedelta(hours=hours)
        self.service._house.flush()

    @rule()
    def restart(self) -> None:
        kept = self._kept()
        self.stack.close()
        self._run(kept)

    @rule()
    def crash(self) -> None:
        """The process ends without a word: what it had not written is forgotten."""
        kept = self._kept()
        self.service._house.flush()  # it had its round; nothing else is written at the end
        with pytest.MonkeyPatch.context() as dead:
            dead.setattr(Housekeeping, "flush", lambda *_: None)
            self.stack.close()
        self._run(kept)

    # What always holds.

    @invariant()
    def the_ledger_is_within_the_capacity_and_equal_to_what_lies_on_disk(self) -> None:
        if not hasattr(self, "bench"):
            return
        self.bench.keep_house()
        booked = sum(
            room([SIZES[n] * BLOCK]) for n in self.registered if self._generation(n) is not None
        )
        assert self.service.figures.status()["used"] == booked <= CAPACITY
        held = {g.id for n in self.registered if (g := self._generation(n)) is not None}
        slots = self.service._inventory.slots
        known = {s.target.id for s in slots.values() if s.target is not None}
        assert held <= set(self.bench.on_disk()) <= held | known
        assert set(slots) == {key(n) for n in self.registered}

    @invariant()
    def hot_is_what_was_asked_for_within_48_hours(self) -> None:
        for name in getattr(self, "registered", ()):
            assert self.bench.cache(key(name))["hot"] == self._is_hot(name)

    # Small parts.

    def _run(self, kept: list[str]) -> None:
        origins = MemoryOrigins(self.sources)
        running = running_service(
            self.directory, origins, capacity=CAPACITY, clock=self.clock, start=False
        )
        self.bench = self.stack.enter_context(running)
        self.service = self.bench.service
        self.leases = {}
        self.service.start()
        self.service._house.reconciling.join(30)
        for name in self.registered:
            self.bench.settle(key(name))
        for name in kept:
            assert self._is_warm(name), f"{name} was warm before the restart"

    def _kept(self) -> list[str]:
        """What a restart must not cost: what was hot and not whole is filled, and others go."""
        kept = [n for n, pinned in self.registered.items() if pinned or self._is_hot(n)]
        return [n for n in kept if self._is_warm(n)]

    def _warm(self, name: str) -> None:
        try:
            self.service.warm(key(name), refresh=False)
        except CapacityError:
            return
        self.bench.settle(key(name))

    def _take_away(self, name: str, *, force: bool, by) -> bool:
        try:
            by(key(name), force=force)
        except UnknownPipelineError:
            assert name not in self.registered
            return False
        except SlotInUseError:
            assert self.leases.get(name)
            assert not force
            return False
        assert force or not self.leases.get(name)
        self.leases.pop(name, None)
        return True

    def _nobody_is_wronged(self, asking: str) -> "_Untouchable":
        return _Untouchable(self, asking)

    def _is_warm(self, name: str) -> bool:
        return self.bench.cache(key(name))["warm"]

    def _is_hot(self, name: str) -> bool:
        return name in self.asked and self.clock.seconds - self.asked[name] <= HOT

    def _generation(self, name: str):
        slot = self.service._inventory.slots[key(name)]
        target = slot.target if slot.target is not None and slot.target.begun else None
        return slot.current or target


class _Untouchable:
    """What is warm, and hot, pinned or leased before, is warm after."""

    def __init__(self, node: LifeOfANode, asking: str) -> None:
        self._node, self._asking = node, asking

    def __enter__(self) -> None:
        node = self._node
        self._stays = [
            name
            for name, pinned in node.registered.items()
            if node._is_warm(name) and (pinned or node._is_hot(name) or node.leases.get(name))
        ]

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            gone = [name for name in self._stays if not self._node._is_warm(name)]
            assert not gone, f"{gone} went for {self._asking}"


LifeOfANode.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)


@pytest.mark.timeout(300)  # a failure is made small, which takes many lives
@pytest.mark.usefixtures("quick_retries")
class TestLifeOfANode(LifeOfANode.TestCase):
    """Fifteen lives of 25 steps; ``--hypothesis-seed`` finds one again."""
