"""A pull from a fake node and its hand-over, running in this process."""

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from replica_agent.arenas.by_plan import Choice, LaidOutMemory
from replica_agent.arenas.host import HostMemory
from replica_agent.client import ControlClient
from replica_agent.handover.server import HandoverServer
from replica_agent.pull import Pull


@dataclass
class Host:
    """What runs on a replica's host beside the engine."""

    pull: Pull
    memory: HostMemory
    server: HandoverServer

    @property
    def path(self):
        return self.server.path


@contextmanager
def host(node, *, patience=5.0, lanes=2, plans=None, limit=2**32, disk=None):
    """Pull what ``node`` has and hand it over, until the block ends.

    ``plans`` by model say how it is laid out; ``limit`` is of memory, ``disk`` a directory to use
    beyond it.
    """
    servers = []
    memory = HostMemory(limit)
    if plans is not None:
        choices = {name: Choice(each, "laid out") for name, each in plans.items()}
        memory = LaidOutMemory(
            limit, lambda _: disk, lambda _: choices, lambda: sum(each.held for each in servers)
        )
    pull = Pull(
        ControlClient(node.url), node.pipeline, memory.open_arenas, lanes=lanes, patience=patience
    )
    # Not pytest's directory: it is too long for a socket's address, and that has its own test.
    with tempfile.TemporaryDirectory(prefix="warmline-") as directory, pull:
        server = HandoverServer(pull, Path(directory))
        servers.append(server)
        try:
            yield Host(pull, memory, server.start())
        finally:
            pull.close()
            server.close()
