"""A model that loads as a test tells it to, and a checkpoint that holds plans against loads.

``Checkpoint.trace`` also loads by the plan, in each way that a plan is used, and compares the
outcome with a load of all: whatever a test is about, a plan is never wrong.
"""

import safetensors.torch
import torch
from torch import nn

from cache_protocol.plans import Key, dump_plan, parse_plan
from cache_protocol.ranges import Span
from cache_protocol.safetensors_header import PREFIX, TensorEntry, header_size, parse_header
from replica_agent.engines.trace import TracedFile, trace
from replica_agent.plans.scatter import Scatter
from replica_agent.views import as_tensor, of_flat

KEY = Key("c" * 32, "torch", "2", "cpu", "tp2", 2, 1, "float32", "")
VOID = 0x7F


class Net(nn.Module):
    """A model of some parameters, and of a function that loads them."""

    def __init__(self, take, **shapes):
        super().__init__()
        self._take = take
        for name, shape in shapes.items():
            setattr(self, name, nn.Parameter(torch.full(shape, 9.0), requires_grad=False))

    def load_weights(self, weights):
        for name, tensor in weights:
            self._take(self, name, tensor)


class Checkpoint:
    """Tensors in a file."""

    def __init__(self, **tensors):
        self.content = safetensors.torch.save(tensors)
        count = header_size(self.content[:PREFIX], file_size=len(self.content))
        header = self.content[PREFIX : PREFIX + count]
        entries = parse_header(header, file_size=len(self.content))
        self.file = TracedFile("a.safetensors", len(self.content), PREFIX + count, entries)

    def weights(self, content, wanted=lambda entry: True):
        memory = memoryview(bytearray(content))
        return ((e.name, as_tensor(memory, e)) for e in self.file.entries if wanted(e))

    def trace(self, net):
        """Return what a trace of ``net`` found; a plan has been tried."""
        before = state(net)
        traced = trace(net, [self.file], net.load_weights, KEY)
        assert same(before, state(net)), "the trace moved bytes"
        if traced.plan is not None:
            assert parse_plan(dump_plan(traced.plan)) == traced.plan
            self._try(net, before, traced.plan)
            restore(net, before)
        return traced

    def _try(self, net, before, plan):
        net.load_weights(self.weights(self.content))
        usual = state(net)
        restore(net, before)
        net.load_weights(self.weights(self._hollow(plan)))
        assert same(usual, state(net)), "a byte outside of the plan was read"
        restore(net, before)
        for name, tensor in self._laid_out(plan).items():
            assert same({name: usual[name]}, {name: tensor}), "the plan lays out something else"
            dict(net.named_parameters())[name].data = tensor
        net.load_weights(self.weights(self.content, lambda e: e.name in self.kept(plan)))
        assert same(usual, state(net)), "what is fed beside the plan does not complete it"

    def _hollow(self, plan):
        hollow = bytearray([VOID]) * len(self.content)
        for _, begin, _, _, run, runs, pitch, _ in plan.pieces:
            for n in range(runs):
                at = begin + n * pitch
                hollow[at : at + run] = self.content[at : at + run]
        for _, begin, end in plan.kept:
            hollow[begin:end] = self.content[begin:end]
        return hollow

    def _laid_out(self, plan):
        memory = bytearray(plan.size)
        for write in Scatter([plan], [self.file.path]).writes(0, Span(0, len(self.content))):
            for n in range(write.runs):
                at, to = write.source + n * write.pitch, write.place + n * write.stride
                memory[to : to + write.run] = self.content[at : at + write.run]
        flat = torch.frombuffer(memory, dtype=torch.uint8)
        places = zip(plan.parameters, plan.places, strict=False)
        return {p.name: of_flat(flat, TensorEntry(*p, Span(at, at + p.size))) for p, at in places}

    def kept(self, plan):
        """Return the names of tensors that are read whole."""
        return {
            entry.name
            for entry in self.file.entries
            if any(k.begin <= entry.span.begin and entry.span.end <= k.end for k in plan.kept)
        }


def state(net):
    return {n: t.detach().clone() for n, t in (*net.named_parameters(), *net.named_buffers())}


def restore(net, before):
    for name, tensor in (*net.named_parameters(), *net.named_buffers()):
        tensor.data = before[name].clone()


def same(one, other):
    return one.keys() == other.keys() and all(_raw(one[n]).equal(_raw(other[n])) for n in one)


def _raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)
