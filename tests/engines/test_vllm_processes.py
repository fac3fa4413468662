"""Tier three: real vLLM with ranks in processes of their own."""

import os

import pytest

from cache_protocol.plans import parse_plan
from replica_agent.handover.messages import Outcome
from tests.engines.engine import Engine, prepare, served
from tests.fakes.handover import host

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two ranks want two cores")
def test_two_ranks_load_from_one_mapping_and_then_adopt_a_shard_each(vllm_python, tiny, tmp_path):
    log = tmp_path / "log"
    with served(tiny) as node, Engine(vllm_python, log, "tests.engines.parallel") as ranks:
        with host(node) as here:
            first = ranks.run(**booted(here, tiny, tmp_path / "first"))
            consumers = here.server.consumers
            plans = [parse_plan(sent.document) for sent in here.server.plans]
        assert sorted(c.rank for c in consumers) == [0, 1]
        assert [(c.peers, c.outcome) for c in consumers] == [(2, Outcome.LOADED)] * 2
        assert pulled(node) == sum(len(content) for content in node.models["llm"].values())
        with host(node, plans={"llm": plans}) as here:
            second = ranks.run(**booted(here, tiny, tmp_path / "second"))
            consumers = {c.rank: c.adopted for c in here.server.consumers}
        usual = ranks.run(model=str(tiny), load_format="auto")
    for given in (first, second):
        assert (given["digests"], given["tokens"]) == (usual["digests"], usual["tokens"])
    assert consumers == {p.key.rank: sum(x.size for x in p.parameters) for p in plans}
    # On a CPU vLLM copies what it packs, which is most: then the memory is given back.
    assert second["adopted"] == [[], []]


def booted(here, tiny, directory):
    """Return the order to load what an agent hands over."""
    directory.mkdir()
    return {"model": str(prepare(directory / "llm", tiny, here.path)), "load_format": "warmline"}


def pulled(node):
    return sum(seen.span.size for seen in node.requests("files") if seen.span)
