"""Where plain files go after a refusal, while ranks have memory that was laid out for them."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from replica_agent.handover.client import attach
from replica_agent.handover.consumers import Consumer, held
from replica_agent.handover.messages import Outcome
from tests.fakes import planned
from tests.fakes.handover import host
from tests.fakes.node import FakeNode

CONTENT = planned.checkpoint(layers=9)  # all ranks together have little more than the files
PLANS = {"llm": planned.plans(CONTENT)}
LIMIT = int(1.3 * len(CONTENT))


@pytest.fixture
def node():
    with FakeNode({"llm": {planned.PATH: CONTENT}}) as node:
        yield node


@pytest.fixture
def here(node, tmp_path, monkeypatch):
    """Return a host that may not have more than LIMIT in memory."""
    monkeypatch.setattr("replica_agent.arenas.by_plan.LETTING_GO", 0.1)
    with host(node, plans=PLANS, limit=LIMIT, disk=tmp_path) as here:
        yield here


def adopts(here, *, to_the_end):
    """Take rank 0's shard; hang up in the middle, or once it is adopted."""
    with attach(here.path, "llm", rank=0, peers=2, adopts=True) as first:
        first.wait_confirmed()
        if to_the_end:
            first.done(Outcome.LOADED, 1.0, adopted=first.shard.size)
    with here.server._changed:
        assert here.server._changed.wait_for(lambda: here.server.consumers[0].outcome, 20)


def refuses(here):
    """Refuse rank 1's shard, and have plain files; return whether those are on disk."""
    with attach(here.path, "llm", rank=1, peers=2, adopts=True) as second:
        second.refuse("not what I read")
    with attach(here.path, "llm", rank=1, peers=2) as second:
        assert second.shard is None
        return here.memory.on_disk


def test_beside_a_shard_that_a_rank_keeps_they_are_on_disk(here):
    adopts(here, to_the_end=True)
    assert here.server.held == PLANS["llm"][0].size
    assert refuses(here)


def test_with_a_rank_that_hung_up_they_are_in_memory(here):
    adopts(here, to_the_end=False)
    assert here.server.held == 0
    assert not refuses(here)


def test_a_rank_that_is_loading_has_what_it_was_lent(here):
    with attach(here.path, "llm", rank=0, peers=2, adopts=True):
        assert here.server.held == PLANS["llm"][0].size


def test_what_a_process_adopted_comes_back_with_its_end(here):
    adopts(here, to_the_end=True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here.server._note(1, replace(here.server.consumers[0], pid=ended.pid))
    assert here.server.held == 0


@pytest.mark.parametrize(
    ("outcome", "adopted", "has"),
    [(None, 0, 9), (Outcome.LOADED, 8, 9), (Outcome.LOADED, 0, 0), (Outcome.GONE, 0, 0)],
)
def test_who_loads_and_who_adopted_has_what_it_was_lent(outcome, adopted, has):
    known = Consumer("llm", os.getpid(), 0, 1, 0.0, outcome=outcome, adopted=adopted, lent=9)
    assert held([known]) == has
