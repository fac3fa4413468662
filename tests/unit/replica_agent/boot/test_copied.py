"""What a boot's notes say of where an engine has its weights."""

from dataclasses import replace

from replica_agent.boot.by_memory import adopted, copied
from replica_agent.handover.consumers import Consumer, fared
from replica_agent.handover.messages import Done, Outcome

RANK = Consumer("llm", pid=1, rank=0, peers=2, attached=0.0)


def told(words, rank=0):
    return fared(replace(RANK, rank=rank), Done(Outcome.LOADED, 0.1, 1.0, copied=words))


def test_the_notes_say_out_of_which_memory_a_gpu_copied():
    ranks = [told("1.2 GB were copied from pinned memory", rank) for rank in range(2)]
    assert list(copied(ranks)) == ["llm: 1.2 GB were copied from pinned memory"]


def test_all_that_an_engine_has_where_it_arrived_is_one_note():
    done = Done(Outcome.LOADED, 0.1, 1.0, adopted=10**9)
    known = [fared(replace(RANK, model=model), done) for model in ("llm", "tts")]
    said = "llm, tts: 2.0 GB of parameters are where they arrived, without a copy"
    assert list(adopted(known)) == [said]


def test_nothing_is_said_of_a_load_that_told_nothing():
    assert not list(copied([told(None)]))
