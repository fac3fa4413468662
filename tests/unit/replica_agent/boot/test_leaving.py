"""What engines sent, on its way to the node after a boot."""

import threading
from functools import partial

import pytest

from cache_protocol.errors import BusyError, PlanRefusedError, ServerUnreachableError
from cache_protocol.plans import dump_plan, parse_plan
from cache_server.http import plan_turns
from replica_agent.boot import leaving
from replica_agent.boot.leaving import Leaving
from replica_agent.client import ControlClient
from replica_agent.handover.sent import Sent
from replica_agent.plans.plain import plain
from tests.fakes import planned
from tests.fakes.boots import until
from tests.fakes.node import FakeNode

CONTENT = planned.checkpoint()
PLANS = planned.plans(CONTENT)
LIMIT = 20.0  # seconds; nothing here takes one


@pytest.fixture
def node():
    with FakeNode({"llm": {planned.PATH: CONTENT}}) as node:
        yield node


@pytest.fixture
def plans(node):
    return [
        Sent("llm", p.key.rank, node.generation_id, p.key.checkpoint, dump_plan(p)) for p in PLANS
    ]


class Refusing:
    """A client whose node says the errors that are given, one a call, and then takes all."""

    def __init__(self, *errors):
        self.errors, self.asked = list(errors), []
        self.close = lambda: None

    def listed_plans(self, *_):
        return []

    def put_document(self, *call):
        self.asked.append(call)
        if self.errors:
            raise self.errors.pop(0)


def left(client, plans, node):
    return list(Leaving(lambda: client).leave(plans, node.manifest()))


def keep(node, *plans):
    for plan in plans:
        node.plans["llm", plan.key.digest] = dump_plan(plan)


def kept(node):
    return [parse_plan(document) for document in node.plans.values()]


def test_plans_that_engines_sent_are_left_with_the_node(node, plans):
    client = ControlClient(node.url)
    assert left(client, plans, node) == []
    assert kept(node) == PLANS


def forged(document):
    """Return what is no plan of rank 1 of the model, in one way each."""
    other = planned.plans(planned.checkpoint(layers=1))[1]
    return [b"{}", b"", dump_plan(PLANS[0]), dump_plan(other), document[:-1]]


@pytest.mark.parametrize("number", range(5))
def test_what_is_no_plan_of_the_rank_is_not_left_and_keeps_no_other_from_it(node, plans, number):
    wrong = plans[1]._replace(document=forged(plans[1].document)[number])
    client = Refusing()
    (said,) = left(client, [wrong, plans[0]], node)
    assert said.startswith("the plan of rank 1 of llm was not left with the node: ")
    assert [call[2] for call in client.asked] == [PLANS[0].key.digest]


def test_the_word_of_an_engine_that_could_not_use_its_plan_is_not_replaced(node, plans):
    better = plain(PLANS[1].key)
    keep(node, better)
    assert left(ControlClient(node.url), plans, node) == []
    assert kept(node) == [better, PLANS[0]]


def test_the_word_of_an_engine_that_could_not_use_its_plan_replaces_the_plan(node, plans):
    keep(node, PLANS[0])
    word = plain(PLANS[0].key)
    assert left(ControlClient(node.url), [plans[0]._replace(document=dump_plan(word))], node) == []
    assert kept(node) == [word]


def test_a_node_that_does_not_say_what_it_has_is_left_no_plan(node, plans):
    node.faults.plans = b"[]"
    said = left(ControlClient(node.url), plans, node)
    assert len(said) == len(plans)
    assert "was not left with the node" in said[0]
    assert kept(node) == []


def test_a_node_is_asked_once_what_it_has_of_a_model(node, plans):
    assert left(ControlClient(node.url), plans, node) == []
    assert [seen.method for seen in node.seen if "/plans" in seen.path] == ["GET", "PUT", "PUT"]


def test_plans_of_another_generation_are_not_left(node, plans):
    before = [plans[0]._replace(generation="f" * 32, model="gone"), plans[1]]
    client = Refusing()
    (said,) = left(client, before, node)
    assert "generation ffff" in said
    assert len(client.asked) == 1


def test_a_node_that_is_busy_is_asked_once_more(node, plans, monkeypatch):
    monkeypatch.setattr(leaving, "PAUSE", 0.0)
    client = Refusing(BusyError("others first"))
    assert left(client, plans, node) == []
    assert len(client.asked) == 3


def test_a_node_that_is_silent_is_asked_for_no_further_rank(node, plans):
    client = Refusing(ServerUnreachableError("no answer"))
    (said,) = left(client, plans, node)
    assert said.endswith("nor were 1 more: no answer")
    assert len(client.asked) == 1


def test_what_the_node_does_not_take_keeps_no_other_rank_from_it(node, plans):
    client = Refusing(PlanRefusedError("too large"))
    (said,) = left(client, plans, node)
    assert said == "the plan of rank 0 of llm was not left with the node: too large"
    assert len(client.asked) == 2


def test_all_plans_together_have_one_deadline(node, plans, monkeypatch):
    monkeypatch.setattr(leaving, "PATIENCE", -1.0)
    client = Refusing()
    (said,) = left(client, plans, node)
    assert "took too long" in said
    assert client.asked == []


def test_a_node_says_that_it_is_busy_before_an_agent_has_given_it_up():
    assert plan_turns.PATIENCE + leaving.PAUSE < leaving.PATIENCE


def test_whoever_leaves_ends_at_once_when_he_is_told_to(node, plans, monkeypatch):
    monkeypatch.setattr(leaving, "PATIENCE", 100 * LIMIT)
    going = Leaving(partial(ControlClient, node.url))
    node.faults.plans_gate = threading.Event()
    said = []
    thread = threading.Thread(target=lambda: said.extend(going.leave(plans, node.manifest())))
    thread.start()
    until(lambda: any("plans" in seen.path for seen in node.seen), LIMIT)
    going.close()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert "nor were 1 more" in said[0]
