"""Ranks of one model, and a node that moves on between them."""

import os
import subprocess
import sys
import threading

import pytest

from replica_agent.handover.client import attach
from replica_agent.handover.consumers import Consumer
from replica_agent.handover.generations import MixedError, check_one_generation
from replica_agent.handover.messages import Outcome
from tests.fakes import planned
from tests.fakes.handover import host
from tests.fakes.node import FakeNode

CONTENT, OTHER = planned.checkpoint(), planned.checkpoint(seed=1)
PLANS = {"llm": planned.plans(CONTENT)}


@pytest.fixture
def node():
    with FakeNode({"llm": {planned.PATH: CONTENT}}) as node:
        yield node


def loads(here, rank, **other):
    attached = attach(here.path, "llm", rank=rank, peers=2, adopts=True, **other)
    attached.wait_confirmed()
    return attached


def test_a_rank_that_refuses_is_not_given_another_generation_than_the_other_has(node):
    with host(node, plans=PLANS) as here, loads(here, 0) as first, loads(here, 1) as second:
        first.done(Outcome.LOADED, 1.0, adopted=first.shard.size)
        generation = node.generation_id
        node.replace({"llm": {planned.PATH: OTHER}})
        second.refuse("not what I read")
        with pytest.raises(MixedError, match="rank 0 has") as found:
            attach(here.path, "llm", rank=1, peers=2)
        assert found.value.taken == generation


def test_a_process_that_we_may_not_ask_counts_as_one_that_lives(node, monkeypatch):
    def denied(*_):
        raise PermissionError(1, "Operation not permitted")

    with host(node, plans=PLANS) as here, loads(here, 0) as first, loads(here, 1) as second:
        first.done(Outcome.LOADED, 1.0)
        node.replace({"llm": {planned.PATH: OTHER}})
        second.refuse("not what I read")
        monkeypatch.setattr(os, "kill", denied)
        with pytest.raises(MixedError, match="rank 0 has"):
            attach(here.path, "llm", rank=1, peers=2)


def test_ranks_that_have_nothing_yet_both_get_the_new_one(node):
    with host(node, plans=PLANS) as here:
        with loads(here, 0) as first:
            node.replace({"llm": {planned.PATH: OTHER}})
            first.refuse("not what I read")
        for rank in range(2):
            with attach(here.path, "llm", rank=rank, peers=2) as attached:
                assert attached.read(planned.PATH) == OTHER
                attached.wait_confirmed()


def test_of_two_ranks_that_are_told_at_once_one_is_refused(node, monkeypatch):
    with host(node, plans=PLANS) as here:
        here.pull.wait()
        old = here.pull.transfer()
        hold, held = threading.Event(), threading.Event()
        take = here.server._take

        def slowly(number, transfer):
            if transfer is old and here.server.consumers[0].taken == "":
                held.set()
                hold.wait(20)
            take(number, transfer)

        monkeypatch.setattr(here.server, "_take", slowly)
        with attach(here.path, "llm", rank=0, peers=2, adopts=True) as first:
            assert held.wait(20)
            node.replace({"llm": {planned.PATH: OTHER}})
            with attach(here.path, "llm", rank=1, peers=2) as second:  # takes no shard
                second.wait_confirmed()
                hold.set()
                with pytest.raises(MixedError, match="rank 1 has"):
                    first.wait_confirmed()


def test_what_a_process_that_has_ended_had_counts_no_more():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    had = Consumer("llm", ended.pid, 0, 2, 0.0, outcome=Outcome.LOADED, taken="g1")
    late = Consumer("llm", 1, 1, 2, 0.0)
    check_one_generation([had], late, "g2", lambda pid: pid != ended.pid)
    with pytest.raises(MixedError, match="rank 0 has g1"):
        check_one_generation([had], late, "g2", lambda _: True)
