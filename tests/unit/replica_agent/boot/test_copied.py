"""What a boot's notes say of a GPU's own copies."""

from dataclasses import replace

from replica_agent.boot.by_memory import copied
from replica_agent.handover.consumers import Consumer, fared
from replica_agent.handover.messages import Done, Outcome

RANK = Consumer("llm", pid=1, rank=0, peers=2, attached=0.0)


def told(words, rank=0):
    return fared(replace(RANK, rank=rank), Done(Outcome.LOADED, 0.1, 1.0, copied=words))


def test_the_notes_say_out_of_which_memory_a_gpu_copied():
    ranks = [told("1.2 GB were copied from pinned memory", rank) for rank in range(2)]
    assert list(copied(ranks)) == ["llm: 1.2 GB were copied from pinned memory"]


def test_nothing_is_said_of_a_load_that_told_nothing():
    assert not list(copied([told(None)]))
