"""The hand-over between real processes: what it costs, and what a killed agent does."""

import signal
import time

import pytest
import safetensors.torch
import torch

from replica_agent.core.schedule import EXTENT
from replica_agent.handover.client import HandoverError, attach
from tests.fakes.agent_process import agent_process
from tests.fakes.consumer_process import consumer_process
from tests.fakes.handover import host
from tests.fakes.node import FakeNode, opened
from tests.fakes.speaking_process import go, says

MIB = 2**20
LONG = 600.0  # seconds, longer than any test


def node(tensors, size):
    """Return a node with a model of so many tensors of ``size`` bytes."""
    weights = {
        f"layer.{n}": torch.full((size,), n % 200, dtype=torch.uint8) for n in range(tensors)
    }
    return FakeNode({"llm": {"model.safetensors": safetensors.torch.save(weights)}})


def test_two_ranks_share_one_copy_of_the_model(tmp_path):
    size = 64 * 4 * MIB
    with node(64, 4 * MIB) as there, host(there) as here:
        with (
            consumer_process(here.path, 0, 2) as one,
            consumer_process(here.path, 1, 2) as other,
        ):
            ranks = (one, other)
            loaded = [says(rank) for rank in ranks]
            assert loaded[0]["sum"] == loaded[1]["sum"] == 4 * MIB * sum(range(64))
            for rank in ranks:
                go(rank)
            grown = sum(says(rank)["grown"] for rank in ranks)
            assert grown <= size + 64 * MIB
            for rank in ranks:
                go(rank)
            assert here.server.wait_consumed(20)
        assert sum(seen.span.size for seen in there.requests("files") if seen.span) == size_of(
            there
        )


def size_of(there):
    return sum(len(content) for content in there.models["llm"].values())


def test_four_hundred_tensors_are_handed_over_in_twenty_milliseconds():
    with node(400, 64 * 2**10) as there, host(there) as here:
        here.pull.wait()
        with attach(here.path, "llm") as attached:  # imports what it needs
            dict(attached.tensors())
        assert min(_seconds(here.path) for _ in range(5)) <= 0.020


def _seconds(path):
    began = time.perf_counter()
    with attach(path, "llm") as attached:
        assert len(dict(attached.tensors())) == 400
        attached.wait_confirmed()
    return time.perf_counter() - began


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_an_agent_that_ends_during_the_load_is_noticed_at_once(tmp_path, how):
    with (
        node(12, 4 * MIB) as there,
        opened(there.gate("llm", "model.safetensors", EXTENT)),
        agent_process(there, tmp_path / "h") as (agent, path),
        attach(path, "llm", silence=LONG) as attached,
    ):
        tensors = attached.tensors()
        held = [next(tensors) for _ in range(3)]
        agent.send_signal(how)
        with pytest.raises(HandoverError, match="has gone"):
            list(tensors)
        assert all(tensor.float().mean() == int(name[6:]) for name, tensor in held)
