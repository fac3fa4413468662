"""A pull whose bytes turned out to be of no use where they are, and that brings them again."""

import threading

import pytest

from cache_protocol.errors import CacheError, CapacityError, GenerationGoneError
from replica_agent.arenas.host import HostMemory
from replica_agent.client import ControlClient
from replica_agent.core.schedule import EXTENT
from replica_agent.pull import Pull
from replica_agent.transfer import ReplacedError
from tests.fakes.node import FakeNode, opened
from tests.fakes.weights import safetensors

LIMIT = 20.0  # seconds; nothing here takes one
FILES = {"config.json": b"{}", "model.safetensors": safetensors(6)}


@pytest.fixture
def node():
    with FakeNode({"llm": FILES}) as node:
        yield node


@pytest.fixture
def pull(node):
    memory = HostMemory(2**30)
    pull = Pull(ControlClient(node.url), "voice", memory.open_arenas, lanes=1, patience=1.0)
    with pull:
        yield pull


def content(transfer):
    return {s.file.path: bytes(s.arena.view(s.number)) for s in transfer.files}


def test_after_the_end_everything_comes_once_more_into_other_memory(pull, node):
    pull.wait()
    first = pull.transfer()
    pull.again("of no use", first)
    second = pull.transfer(after=first)
    assert pull.wait(LIMIT)
    assert second.arenas["llm"] is not first.arenas["llm"]
    assert content(second) == content(first) == FILES
    assert [phase.name for phase in pull.phases] == ["manifest", "pull"] * 2


def test_in_the_middle_who_waits_learns_that_another_follows(pull, node):
    with opened(node.gate("llm", "model.safetensors", EXTENT)) as gate:
        first = pull.transfer()
        waiting = threading.Thread(target=lambda: outcome.append(_wait(first)))
        outcome = []
        waiting.start()
        pull.again("of no use", first)
        waiting.join(LIMIT)
        assert outcome == ["replaced"]
        gate.set()
        assert pull.wait(LIMIT)
        assert content(pull.transfer(after=first)) == FILES


def _wait(transfer):
    try:
        transfer.wait_confirmed("llm")
    except ReplacedError:
        return "replaced"
    return "confirmed"


def test_leases_of_both_are_given_back(pull, node):
    pull.wait()
    pull.again("of no use", pull.transfer())
    assert pull.wait(LIMIT)
    pull.close()
    assert node.leases == set()


def test_of_many_who_ask_for_the_same_only_the_first_counts(pull, node):
    pull.wait()
    first = pull.transfer()
    for _ in range(5):
        pull.again("of no use", first)
    assert pull.wait(LIMIT)
    assert len(node.manifests()) == 2


def test_a_transfer_that_has_a_successor_is_not_replaced_again(pull, node):
    pull.wait()
    first = pull.transfer()
    pull.again("of no use", first)
    assert pull.wait(LIMIT)
    pull.again("of no use", first)
    assert pull.wait(0)
    assert len(node.manifests()) == 2


def test_a_node_that_has_gone_meanwhile_fails_the_pull(pull, node):
    pull.wait()
    node.faults.manifest_error = (410, GenerationGoneError("it is not here any more"))
    first = pull.transfer()
    pull.again("of no use", first)
    with pytest.raises(GenerationGoneError, match="not here any more"):
        pull.transfer(after=first)
    with pytest.raises(GenerationGoneError, match="not here any more"):
        pull.wait(LIMIT)


def test_without_a_thread_to_bring_it_the_pull_has_failed(pull, monkeypatch):
    def start(_):
        raise RuntimeError("can't start new thread")

    pull.wait()
    first = pull.transfer()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert not pull.again("of no use", first)
    for wait in (lambda: pull.transfer(after=first), lambda: pull.wait(LIMIT)):
        with pytest.raises(CapacityError, match="can't start new thread"):
            wait()


def test_who_asks_is_told_whether_another_follows(pull, node):
    pull.wait()
    first = pull.transfer()
    assert pull.again("of no use", first)
    assert not pull.again("of no use", first)
    assert pull.wait(LIMIT)


def test_after_close_nothing_begins(pull, node):
    pull.wait()
    pull.close()
    pull.again("of no use", pull.transfer())
    assert len(node.manifests()) == 1
    assert not pull.transfer().replaced


def test_a_pull_that_is_closed_while_it_begins_again_ends(pull, node):
    with opened(node.gate("llm", "model.safetensors", EXTENT)):
        first = pull.transfer()
        pull.again("of no use", first)
        pull.close()
        with pytest.raises(CacheError, match="closed"):
            pull.wait(LIMIT)


def test_the_report_is_about_what_came_last(pull, node):
    pull.wait()
    pull.again("of no use", pull.transfer())
    assert pull.wait(LIMIT)
    report = pull.boot("cpu", None)
    assert report.verified_bytes == report.bytes == sum(map(len, FILES.values()))
