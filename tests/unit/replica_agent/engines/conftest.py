"""A vLLM that is none, a node with a checkpoint, and plans of both; for the tests of adoption."""

import pytest
import safetensors.torch
import torch

from replica_agent.arenas.laid_out import LaidOutArena
from replica_agent.engines import vllm_plan
from replica_agent.handover import client
from replica_agent.lending import Lent
from tests.fakes.node import FakeNode
from tests.fakes.sharded import FILE, LIMIT, WEIGHTS, traced
from tests.fakes.vllm_stand_in import StandIn


@pytest.fixture
def vllm(monkeypatch):
    monkeypatch.setattr(vllm_plan, "vllm_version", lambda: "0.32.0")
    # On a busy machine headers may take half a second: a plan would be missing now and then.
    monkeypatch.setattr("replica_agent.engines.load.PATIENCE", LIMIT)
    return StandIn(monkeypatch)


@pytest.fixture
def node():
    with FakeNode({"llm": {"config.json": b"{}", FILE: safetensors.torch.save(WEIGHTS)}}) as node:
        yield node


@pytest.fixture
def plans(vllm, tmp_path, node):
    return traced(vllm, tmp_path, node)


@pytest.fixture
def staying(vllm):
    """Have a vLLM whose parameters stay, as on a GPU; on a CPU it packs them."""
    vllm.register()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replica_agent.engines.vllm_loader.packs", lambda _: False)
        yield


@pytest.fixture
def on_device(monkeypatch):
    """Have the agent's memory be on a device, and every device be in this host's memory."""
    shard = LaidOutArena.shard

    def named(self, rank):
        words, fd = shard(self, rank)
        return Lent(words._replace(device="GPU-1"), fd)

    def imported(descriptor, size, uuid):
        assert uuid == "GPU-1"
        return torch.frombuffer(client._mapped(descriptor, size), dtype=torch.uint8)

    monkeypatch.setattr(LaidOutArena, "shard", named)
    monkeypatch.setattr("replica_agent.engines.device_shard.device_shard", imported)


@pytest.fixture
def origin(tmp_path):
    directory = tmp_path / "origin"
    directory.mkdir()
    (directory / FILE).write_bytes(safetensors.torch.save(WEIGHTS))
    return directory
