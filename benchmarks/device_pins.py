"""An engine's own copies out of a hand-over's memory, everything there already.

    python -m benchmarks.device_pins DRIVER SIZE plain|pinned       seconds, as JSON

With ``pinned`` tensors are pinned on their way, by ``engines.registration``; unpinning counts too.
DRIVER is ``cuda`` or ``fake``, with which the copies stay on the host.
"""

import json
import mmap
import os
import sys
import time

import torch

from benchmarks.device_load import DEVICE, starting
from replica_agent.arenas.host import HUGE, sealed_memory
from replica_agent.engines.registration import registering

_TENSOR = 64 * 2**20  # bytes; a layer's matrix of a model of some billions has about as many
_CUDA = torch.device(DEVICE)


def copy(driver: str, size: int, way: str) -> float:
    """Return how long it took to copy about ``size`` bytes."""
    descriptor, memory = _handed_over(size)
    flat = torch.frombuffer(memory, dtype=torch.uint8)
    weights = ((str(at), flat[at : at + _TENSOR]) for at in range(0, len(flat), _TENSOR))
    there = _CUDA if driver == "cuda" else torch.device("cpu")
    torch.empty(1, device=there)  # the device is open long before an engine loads
    load, begun = starting(driver), time.perf_counter()
    device = _CUDA if way == "pinned" else torch.device("cpu")
    with registering(descriptor, memory, device, load) as through:
        held = [torch.empty_like(t, device=there).copy_(t) for _, t in through(weights)]
    if driver == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begun
    del held
    return seconds


def _handed_over(size: int) -> tuple[int, memoryview]:
    """Return a descriptor of memory as an agent fills it, and an engine's mapping of it."""
    whole = -(-size // HUGE) * HUGE
    descriptor, block = sealed_memory("pins", whole), os.urandom(HUGE)
    for place in range(0, whole, HUGE):
        os.pwrite(descriptor, block, place)
    mapped = mmap.mmap(descriptor, whole, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    return descriptor, memoryview(mapped)


if __name__ == "__main__":
    print(json.dumps(copy(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
