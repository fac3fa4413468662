"""One end of shared device memory, to be killed: ``python -m … share|adopt KIND SOCKET``.

``share`` lays a linear layer's weight and bias out in a device's memory and sends the descriptor
through the socket, whose number is given; ``adopt`` takes such a descriptor and has a layer look at
the memory. Both say ``ready`` then, and end when stdin ends. KIND is "fake" or "cuda".
"""

import os
import socket
import subprocess
import sys
from contextlib import contextmanager

import torch

from replica_agent.arenas.cuda.allocation import pinned
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.shared import SharedMemory
from replica_agent.engines.device_shard import device_shard
from tests.fakes.cuda_driver import FakeDriver

WIDTH = 256
WEIGHT = WIDTH * WIDTH * 4  # bytes
SIZE = WEIGHT + WIDTH * 4


def driver(kind):
    return load_driver() if kind == "cuda" else FakeDriver()


def layer():
    """Return the layer whose parameters are shared, as anybody can make it."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(11)
        return torch.nn.Linear(WIDTH, WIDTH)


def share(kind):
    """Return device memory that holds the layer."""
    device = driver(kind).open(0)
    memory, host, stream = SharedMemory(device, SIZE), pinned(device, SIZE), device.open_stream()
    made = layer()
    weights = torch.cat([made.weight.detach().reshape(-1), made.bias.detach()])
    host[:] = memoryview(weights.numpy()).cast("B")
    device.copy_in(memory.address, host, stream)
    device.drain(stream)
    device.close_stream(stream)
    return memory


def adopt(kind, descriptor):
    """Return a layer that looks at shared memory."""
    made = driver(kind)
    flat = device_shard(descriptor, SIZE, made.open(0).info.uuid, lambda: made)
    numbers = flat[:SIZE].view(torch.float32)
    with torch.device("meta"):
        found = torch.nn.Linear(WIDTH, WIDTH)
    found.weight = torch.nn.Parameter(numbers[: WIDTH * WIDTH].view(WIDTH, WIDTH))
    found.bias = torch.nn.Parameter(numbers[WIDTH * WIDTH :])
    return found


@contextmanager
def running(role, kind):
    """Yield a process in ``role``, once it is ready, and our end of its socket."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "tests.fakes.shard_process", role, kind, str(theirs.fileno())]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, pass_fds=[theirs.fileno()], **pipes) as process, ours:
        theirs.close()
        try:
            yield process, ours
        finally:
            process.kill()


def main(role, kind, number):
    with socket.socket(fileno=int(number)) as other:
        if role == "share":
            held = share(kind)
            socket.send_fds(other, [b"\n"], [held.descriptor])
            os.close(held.take())  # the mapping stays
        else:
            _, (descriptor,), _, _ = socket.recv_fds(other, 1, 1)
            held = adopt(kind, descriptor)
            os.close(descriptor)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
