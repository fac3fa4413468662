"""Readers that wait for what a fill has not brought yet, to take all threads of the node."""

import json
from contextlib import ExitStack
from dataclasses import replace

import pytest

from cache_protocol.routes import DIGESTS, FILES, VERDICTS
from tests.fakes.data_node import QUICK, data_node, settled
from tests.fakes.reader import target

FEW = replace(QUICK, generation=3)


@pytest.mark.parametrize("kind", [FILES, DIGESTS, VERDICTS])
def test_of_those_who_wait_for_one_generation_no_more_than_the_bound_take_a_thread(tmp_path, kind):
    with data_node(tmp_path, FEW) as node, ExitStack() as stack:
        file = node.shelf.add("a", b"weights", present=set())
        waiting = [stack.enter_context(node.connect()) for _ in range(FEW.generation)]
        for reader in waiting:
            reader.ask(target("a", kind=kind))
        running = node.plane._answers._running
        assert settled(lambda: [len(each) for each in running.values()] == [FEW.generation])
        with node.connect() as further:
            reply = further.get(target("a", kind=kind))
        assert (reply.status, json.loads(reply.body)["code"]) == (429, "busy")
        assert reply.fields["retry-after"] == "1"
        file.land(0)
        file.confirm()
        assert [reader.reply().status for reader in waiting] == [200] * FEW.generation
