"""Memory that is laid out for ranks, handed over; and what happens when it is of no use."""

import errno
import os
import socket
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors.torch
import torch

from cache_protocol.errors import CapacityError, GenerationGoneError, MalformedError
from cache_protocol.plans import MAX_PLAN, checkpoint_digest, dump_plan
from replica_agent.arenas.laid_out import LaidOutArena
from replica_agent.core.schedule import EXTENT
from replica_agent.handover.client import attach
from replica_agent.handover.lines import Lines
from replica_agent.handover.messages import Hello, Outcome, hello, plan_parts, refused
from tests.fakes import planned
from tests.fakes.handover import host
from tests.fakes.node import FakeNode, opened

LIMIT = 30.0  # seconds; nothing here takes one
CONTENT = planned.checkpoint()
PLANS = {"llm": planned.plans(CONTENT)}
WEIGHTS = safetensors.torch.load(CONTENT)
BIG = planned.checkpoint(layers=9, size=1024)  # more chunks than one lane asks for at a time


@pytest.fixture
def node():
    with FakeNode({"llm": {"config.json": b"{}", planned.PATH: CONTENT}}) as node:
        yield node


@pytest.fixture
def plans():
    return PLANS["llm"]


@contextmanager
def half_way():
    """Yield a host whose pull stands still in the middle of BIG, and the gate that opens it."""
    with (
        FakeNode({"llm": {"config.json": b"{}", planned.PATH: BIG}}) as node,
        opened(node.gate("llm", planned.PATH, EXTENT)) as gate,
        host(node, plans={"llm": planned.plans(BIG)}) as here,
    ):
        yield here, gate


def adopted(attached, plan):
    """Wait for the confirmation and return whether the shard is what its plan says."""
    attached.wait_confirmed()
    return bytes(attached.shard.map()) == planned.laid_out(CONTENT, plan)


def is_whole(attached):
    given = dict(attached.tensors())
    attached.wait_confirmed()
    return given.keys() == WEIGHTS.keys() and all(
        torch.equal(given[name], tensor) for name, tensor in WEIGHTS.items()
    )


def test_each_rank_is_given_its_own_shard(node, plans):
    with host(node, plans=PLANS) as here:
        for rank, plan in enumerate(plans):
            with attach(here.path, "llm", rank=rank, peers=2, adopts=True) as attached:
                assert attached.shard.plan == plan.fingerprint
                assert (attached.shard.size, attached.shard.device) == (plan.size, "")
                assert adopted(attached, plan)


def test_a_rank_reads_what_its_plan_keeps_while_its_shard_arrives():
    with half_way() as (here, _), attach(here.path, "llm", adopts=True) as attached:
        ((name, tensor),) = attached.tensors(names={"norm"})
        assert (name, tensor.tolist()) == ("norm", safetensors.torch.load(BIG)["norm"].tolist())


def test_headers_are_there_before_the_rest_of_their_files():
    with (
        half_way() as (here, _),
        attach(here.path, "llm", adopts=True) as attached,
    ):
        (header,) = attached.headers()
        assert (header.path, header.size) == (planned.PATH, len(BIG))
        assert WEIGHTS.keys() < {entry.name for entry in header.entries}
        assert header.header == min(entry.span.begin for entry in header.entries)


def test_a_file_that_is_too_short_for_a_header_is_malformed():
    with (
        FakeNode({"llm": {"a.safetensors": b"123"}}) as node,
        host(node) as here,
        attach(here.path, "llm") as attached,
        pytest.raises(MalformedError),
    ):
        attached.headers()


def test_the_checkpoint_is_named_as_a_plans_key_has_it(node):
    with host(node) as here, attach(here.path, "llm") as attached:
        manifest = here.pull.transfer().manifest
        expected = checkpoint_digest(manifest.models["llm"], manifest.generation)
        assert attached.checkpoint == expected


def test_writing_into_a_shard_changes_it_for_nobody_else(node, plans):
    with host(node, plans=PLANS) as here:
        with attach(here.path, "llm", adopts=True) as attached:
            attached.wait_confirmed()
            attached.shard.map()[:4] = b"mine"
        with attach(here.path, "llm", adopts=True) as attached:
            assert adopted(attached, plans[0])


def test_a_shard_lives_on_after_the_agent_has_given_its_memory_up(node, plans):
    with host(node, plans=PLANS) as here, attach(here.path, "llm", adopts=True) as rank:
        rank.wait_confirmed()
        memory = rank.shard.map()
    assert bytes(memory) == planned.laid_out(CONTENT, plans[0])


def test_a_descriptor_that_was_taken_is_the_takers(node, plans):
    with host(node, plans=PLANS) as here:
        with attach(here.path, "llm", adopts=True) as attached:
            fd = attached.shard.take()
        assert os.fstat(fd).st_size == plans[0].size
        os.close(fd)


def test_no_shard_is_left_of_an_engine_that_has_gone(node, plans):
    with host(node, plans=PLANS) as here, attach(here.path, "llm", adopts=True) as rank:
        here.pull.wait()
        rank.close()
        here.pull.close()
        here.memory.forget()
        assert not held("llm-rank")


def held(name):
    """Return the mappings and descriptors of this process that are memory of that name."""
    links = [os.readlink(fd) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    maps = Path("/proc/self/maps").read_text().splitlines()
    return [text for text in (*links, *maps) if name in text]


def test_a_chunk_that_came_wrong_is_right_in_every_shard_once_it_is_confirmed(node, plans):
    node.corrupt("llm", planned.PATH, 0, sends=1)
    with host(node, plans=PLANS) as here:
        for rank, plan in enumerate(plans):
            with attach(here.path, "llm", rank=rank, peers=2, adopts=True) as attached:
                assert adopted(attached, plan)


def test_a_file_that_the_node_replaced_meanwhile_is_the_new_one_in_every_shard(node, plans):
    other = planned.checkpoint(seed=1)
    node.models["llm"] = {planned.PATH: other}  # alone: its verdict is the first
    node.know_sha256 = False  # the manifest promises nothing that the change could break
    node.before_verdict = lambda: node.models["llm"].update({planned.PATH: CONTENT})
    with host(node, plans=PLANS) as here, attach(here.path, "llm", adopts=True) as attached:
        assert adopted(attached, plans[0])
        assert attached.rewritten


# Of no use.


def test_an_engine_that_takes_no_shard_is_given_plain_files(node, plans):
    with host(node, plans=PLANS) as here, attach(here.path, "llm") as attached:
        assert attached.shard is None
        assert is_whole(attached)
        (remark,) = here.server.remarks
        assert "takes no memory that is laid out" in remark


def test_it_is_given_them_also_when_the_pull_is_over(node, plans):
    with host(node, plans=PLANS) as here:
        here.pull.wait()
        with attach(here.path, "llm") as attached:
            assert is_whole(attached)


def test_a_rank_without_a_plan_is_given_plain_files(node, plans):
    with (
        host(node, plans=PLANS) as here,
        attach(here.path, "llm", rank=2, peers=3, adopts=True) as attached,
    ):
        assert attached.shard is None
        assert is_whole(attached)
        assert "no plan is about it" in here.server.remarks[0]


def test_who_refuses_its_shard_attaches_again_and_is_given_plain_files(node):
    with host(node, plans=PLANS) as here:
        here.pull.wait()
        with attach(here.path, "llm", adopts=True) as attached:
            attached.wait_confirmed()
            attached.refuse("made by version 0.31.0, this is 0.32.0")
        with attach(here.path, "llm", adopts=True) as attached:
            assert attached.shard is None
            assert is_whole(attached)
        (remark,) = here.server.remarks
        assert "rank 0 of llm: made by version 0.31.0, this is 0.32.0" in remark


def test_a_refusal_in_the_middle_ends_the_pull_and_begins_another():
    with half_way() as (here, gate):
        with attach(here.path, "llm", adopts=True) as attached:
            attached.refuse("not what I read")
            with pytest.raises(GenerationGoneError, match="attach again"):
                attached.wait_confirmed()
        gate.set()
        with attach(here.path, "llm", adopts=True) as attached:
            attached.wait_confirmed()
            assert attached.shard is None
            assert attached.read(planned.PATH) == BIG


def test_the_other_ranks_learn_of_a_refusal():
    with (
        half_way() as (here, _),
        attach(here.path, "llm", rank=0, peers=2, adopts=True) as refusing,
        attach(here.path, "llm", rank=1, peers=2, adopts=True) as other,
    ):
        refusing.refuse("not what I read")
        with pytest.raises(GenerationGoneError, match="attach again"):
            other.wait_confirmed()


def test_two_ranks_that_refuse_bring_everything_again_once(node, plans):
    with host(node, plans=PLANS) as here:
        here.pull.wait()
        with (
            attach(here.path, "llm", rank=0, adopts=True) as one,
            attach(here.path, "llm", rank=1, adopts=True) as other,
        ):
            for attached in (one, other):
                attached.wait_confirmed()
                attached.refuse("not what I read")
        for rank in range(2):
            with attach(here.path, "llm", rank=rank) as attached:  # as who refused does
                assert is_whole(attached)
                attached.done(Outcome.LOADED, 1.0)
        assert here.server.wait_consumed(LIMIT)
        here.pull.wait()  # its phase ends after the last word to ranks
        assert len([phase for phase in here.pull.phases if phase.name == "pull"]) == 2


def test_a_rank_that_had_taken_its_shard_keeps_it_when_another_refuses(node, plans):
    with host(node, plans=PLANS) as here:
        with attach(here.path, "llm", rank=0, adopts=True) as first:
            first.wait_confirmed()
            memory = first.shard.map()
            first.done(Outcome.LOADED, 1.0, adopted=plans[0].size)
        with attach(here.path, "llm", rank=1, adopts=True) as second:
            second.refuse("not what I read")
        with attach(here.path, "llm", rank=1, adopts=True) as second:
            assert is_whole(second)
            second.done(Outcome.LOADED, 1.0)
        assert here.server.wait_consumed(LIMIT)
        assert bytes(memory) == planned.laid_out(CONTENT, plans[0])
        assert here.server.consumers[0].adopted == plans[0].size


def test_a_node_that_has_gone_meanwhile_is_said_to_who_attaches_again(node, plans):
    with host(node, plans=PLANS, patience=0.1) as here:
        here.pull.wait()
        with attach(here.path, "llm", adopts=True) as attached:
            attached.wait_confirmed()
            node.faults.manifest_error = (503, MalformedError("it is broken"))
            attached.refuse("not what I read")
        with pytest.raises(MalformedError, match="it is broken"), attach(here.path, "llm") as again:
            again.wait_confirmed()


@pytest.mark.parametrize("name", ["shard", "lend"])
def test_memory_that_is_replaced_while_it_is_given_gives_way_to_the_next(node, monkeypatch, name):
    with host(node, plans=PLANS) as here:
        here.pull.wait()

        def replaced(*_):
            patch.undo()
            here.pull.again("another rank refuses", here.pull.transfer())
            raise GenerationGoneError("the memory was given up")

        with monkeypatch.context() as patch:
            patch.setattr(LaidOutArena, name, replaced)
            with attach(here.path, "llm", adopts=True) as attached:
                assert attached.shard is None
                assert is_whole(attached)


def test_plain_files_cannot_be_refused(node):
    with host(node) as here, attach(here.path, "llm") as attached:
        attached.wait_confirmed()
        attached._lines.write(refused("not what I read"))
        with pytest.raises(MalformedError, match="plain files"):
            attached._next()
        assert not here.pull.transfer().replaced
        assert here.server.remarks == ()


def test_of_ranks_that_refuse_the_same_one_is_remarked(node):
    with host(node, plans=PLANS) as here:
        ranks = [attach(here.path, "llm", rank=rank, adopts=True) for rank in range(2)]
        for attached in ranks:
            attached.wait_confirmed()
        for attached in ranks:
            with attached:
                attached.refuse("not what I read")
        assert len(here.server.remarks) == 1


def test_who_comes_to_a_pull_that_failed_hears_why():
    with half_way() as (here, _):
        here.pull.transfer().fail(MalformedError("it is broken"))
        with pytest.raises(MalformedError, match="it is broken"):
            here.pull.wait(LIMIT)
        with pytest.raises(MalformedError, match="it is broken"):
            attach(here.path, "llm")


@pytest.mark.parametrize("failing", ["shard", "lend"])
def test_an_agent_without_descriptors_says_so_to_who_attaches(node, monkeypatch, failing):
    def exhausted(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    with host(node, plans=PLANS) as here:
        with monkeypatch.context() as patch:
            patch.setattr(LaidOutArena, failing, exhausted)
            with pytest.raises(CapacityError, match="Too many open files"):
                attach(here.path, "llm", adopts=True, silence=3.0)
        with attach(here.path, "llm", adopts=True) as attached:
            attached.wait_confirmed()


# Plans that engines send.


def test_a_plan_is_kept_as_it_was_sent(node, plans, monkeypatch):
    monkeypatch.setattr("replica_agent.handover.messages.PLAN_PART", 100)
    document = dump_plan(plans[1])
    with host(node) as here, attach(here.path, "llm", rank=1, peers=2) as attached:
        attached.send_plan(document)
        attached.wait_confirmed()
        attached.done(Outcome.LOADED, 1.0)
        until_over(here.server)
        (sent,) = here.server.plans
        assert (sent.model, sent.rank, sent.document) == ("llm", 1, document)
        assert sent.checkpoint == plans[1].key.checkpoint


def test_nobody_looks_into_what_is_sent_while_weights_may_arrive(node):
    with host(node) as here, attach(here.path, "llm", rank=1, peers=2) as attached:
        attached.send_plan(b"no plan")
        attached.wait_confirmed()
        attached.done(Outcome.LOADED, 1.0)
        until_over(here.server)
        assert [sent.document for sent in here.server.plans] == [b"no plan"]
        assert here.server.consumers[0].outcome is Outcome.LOADED


def until_over(server):
    with server._changed:
        assert server._changed.wait_for(lambda: all(c.outcome for c in server.consumers), LIMIT)


def test_plans_of_all_consumers_together_have_a_bound(node, plans, monkeypatch):
    document = dump_plan(plans[0])
    monkeypatch.setattr("replica_agent.handover.sent.MAX_HELD", len(document) + 10)
    with host(node) as here:
        for rank in (0, 1, 0):  # the second finds no room, the third neither: the first is kept
            with attach(here.path, "llm", rank=rank, peers=2) as attached:
                attached.send_plan(dump_plan(plans[rank]))
                attached.done(Outcome.LOADED, 1.0)
                until_over(here.server)
        assert [sent.rank for sent in here.server.plans] == [0]
        assert here.server._plans._held == len(document)


def test_what_never_ended_is_held_no_longer_than_its_sender(node, monkeypatch):
    with host(node) as here:
        with attach(here.path, "llm") as attached:
            attached._lines.write({"plan": {"text": "x" * 1000, "last": False}})
        until_over(here.server)
        assert here.server._plans._held == 0


def test_an_agent_that_never_heard_of_plans_is_sent_none(node, plans):
    with host(node) as here, attach(here.path, "llm") as attached:
        attached.checkpoint = ""
        attached.send_plan(dump_plan(plans[0]))
        attached.done(Outcome.LOADED, 1.0)
        until_over(here.server)
        assert here.server.plans == ()


def test_a_plan_that_the_agent_would_not_take_is_not_sent(node, monkeypatch):
    monkeypatch.setattr("replica_agent.handover.client.MAX_PLAN", 1000)
    with host(node) as here, attach(here.path, "llm") as attached:
        attached.send_plan(b"x" * 1001)
        attached.wait_confirmed()
        attached.done(Outcome.LOADED, 1.0)
        until_over(here.server)
        assert here.server.plans == ()
        assert here.server.consumers[0].outcome is Outcome.LOADED


def test_a_plan_without_end_is_its_senders_end_only(node, plans, monkeypatch):
    monkeypatch.setattr("replica_agent.handover.sent.MAX_PLAN", 1000)
    with host(node) as here, raw(here.path) as lines:
        lines.write(hello(Hello("llm")))
        for message in plan_parts(b"x" * 1001):
            lines.write(message)
        until_over(here.server)
        assert here.server.plans == ()
        with attach(here.path, "llm") as attached:
            assert is_whole(attached)


def test_the_bound_of_a_plan_is_that_of_its_form():
    from replica_agent.handover import sent  # noqa: PLC0415 - to look at one name

    assert sent.MAX_PLAN == MAX_PLAN


@contextmanager
def raw(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(LIMIT)
        sock.connect(str(path))
        yield Lines(sock)
