"""A rank of a model as engines make them, and boots of it through a stand-in of vLLM."""

from pathlib import Path

import torch
from torch import nn

from cache_protocol.plans import parse_plan
from replica_agent.handover.messages import Outcome
from replica_agent.handover.place import Origin, Place, write_place
from tests.fakes.handover import host
from tests.fakes.vllm_stand_in import ModelConfig

SIZE, RANKS, LIMIT = 64, 2, 30.0
FILE = "model.safetensors"


def checkpoint(seed=1):
    torch.manual_seed(seed)
    names = ["embedding", "gate", "up", "down", "norm"]
    tensors = {name: torch.randn(SIZE, SIZE, dtype=torch.bfloat16) for name in names[:-1]}
    return tensors | {"norm": torch.randn(SIZE, dtype=torch.bfloat16)}


WEIGHTS = checkpoint()


class Sharded(nn.Module):
    """A rank of a model, as engines make them: fused, cut both ways, and one that is computed."""

    def __init__(self, rank=0, *, swapped=False):
        super().__init__()
        self.rank, self.share, self.fed = rank, SIZE // RANKS, []
        self.order = ("up", "gate") if swapped else ("gate", "up")

        def blank(*shape, dtype=torch.bfloat16):
            return nn.Parameter(torch.empty(*shape, dtype=dtype), requires_grad=False)

        self.embedding = blank(SIZE, SIZE)
        self.gate_up = blank(2 * self.share, SIZE)
        self.down = blank(SIZE, self.share)
        self.norm = blank(SIZE, dtype=torch.float32)

    def load_weights(self, weights):
        loaded = set()
        for name, tensor in weights:
            self.fed.append((name, tensor.device.type))
            loaded.add(self.take(name, tensor))
        return loaded

    def take(self, name, tensor):
        first = self.rank * self.share
        if name in self.order:
            place = self.order.index(name) * self.share
            part = self.gate_up.data[place : place + self.share]
            part.copy_(tensor.narrow(0, first, self.share))
            return "gate_up"
        if name == "down":
            self.down.data.copy_(tensor.narrow(1, first, self.share))
        else:
            getattr(self, name).data.copy_(tensor)  # the norm is another type than its file's
        return name

    @property
    def fed_for_real(self):
        return [name for name, device in self.fed if device != "meta"]


def expected(rank, weights=WEIGHTS, **options):
    model = Sharded(rank, **options)
    model.load_weights(iter(weights.items()))
    return dict(model.named_parameters())


def same(model, rank, weights=WEIGHTS, **options):
    wanted = expected(rank, weights, **options)
    return all(torch.equal(p, wanted[name]) for name, p in model.named_parameters())


def memory_of(model):
    """Return, by parameter, the name of the mapping that it is in."""
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    areas = [(*(int(n, 16) for n in m[0].split("-")), " ".join(m[5:])) for m in maps]

    def area(address):
        return next(name for begin, end, name in areas if begin <= address < end)

    return {name: area(p.data_ptr()) for name, p in model.named_parameters()}


def looks_at_shard(model, rank=0):
    where = memory_of(model)
    return {name for name, memory in where.items() if f"-rank{rank}" in memory}


ADOPTED = {"embedding", "gate_up", "down"}


def prepared(directory, socket, origin=None):
    directory.mkdir(exist_ok=True)
    source = None if origin is None else Origin(f"file://{origin}")
    write_place(
        directory,
        Place(socket, "llm", "voice", "g", "fail" if origin is None else "origin", source),
    )
    return ModelConfig(str(directory))


def load(vllm, tmp_path, here, rank=0, *, build=None, origin=None, **more):
    """Have a rank make and load its model; return it."""
    config = prepared(tmp_path / "llm", here.path, origin)
    vllm.rank, vllm.ranks = rank, RANKS
    made = vllm.made(config, build or (lambda: Sharded(rank)), **more)
    loader = vllm.loader()
    return loader.load_model(vllm_config=made, model_config=config)


def ended(here, count):
    """Wait for ``count`` consumers to have ended; return them."""
    with here.server._changed:
        assert here.server._changed.wait_for(
            lambda: sum(c.outcome is not None for c in here.server.consumers) >= count, LIMIT
        )
    return here.server.consumers


def traced(vllm, tmp_path, node, **options):
    """Return the plans that the ranks of a first boot send."""
    with host(node) as here:
        for rank in range(RANKS):
            load(vllm, tmp_path, here, rank, build=lambda rank=rank: Sharded(rank, **options))
        ended(here, RANKS)
        plans = sorted(here.server.plans, key=lambda sent: sent.rank)
        assert [(sent.model, sent.rank) for sent in plans] == [("llm", 0), ("llm", 1)]
        return [parse_plan(sent.document) for sent in plans]


def is_fed(here, model, consumers=2, **options):
    """Whether a model has memory of its own, and all weights; the last consumer says so, too."""
    last = ended(here, consumers)[-1]
    assert (last.outcome, last.adopted) == (Outcome.LOADED, 0)
    assert not [m for m in memory_of(model).values() if "memfd" in m]
    assert set(model.fed_for_real) == WEIGHTS.keys()
    return same(model, 0, **options)


def on_its_way(vllm, tmp_path, here, build=Sharded, origin=None):
    config = prepared(tmp_path / "llm", here.path, origin)
    vllm.rank, vllm.ranks = 0, RANKS
    made = vllm.made(config, build)
    return made, vllm.loader().get_external_weight_memory(made)
