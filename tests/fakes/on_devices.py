"""A pipeline on the devices of a driver, as ``open_pipeline`` makes it."""

from contextlib import contextmanager

from replica_agent.arenas.cuda.memory import DeviceMemory
from replica_agent.arenas.host import HostMemory
from replica_agent.client import ControlClient
from replica_agent.core.devices import Placement
from replica_agent.pull import Pull
from replica_agent.tensors import Pipeline


@contextmanager
def on_devices(node, driver, device="cuda:0", *, lanes=1, limit=2**30, local="off"):
    memory = DeviceMemory(Placement(device), HostMemory(limit), lanes, lambda: driver)
    pull = Pull(
        ControlClient(node.url, local=str(local)), node.pipeline, memory.open_arenas, lanes=lanes
    )
    with Pipeline(pull, memory, device) as pipeline:
        yield pipeline
