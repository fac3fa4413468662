"""A pull into memory in one call, for tests that are about what a node may do to it."""

from replica_agent.arenas.host import HostMemory
from replica_agent.client import ControlClient
from replica_agent.pull import Pull


def pull(node, *, patience=0.3, limit=2**30, lanes=1):
    """Pull everything that ``node`` has; raises what ends the pull."""
    client = ControlClient(node.url, node.token)
    memory = HostMemory(limit)
    with Pull(client, node.pipeline, memory.open_arenas, lanes=lanes, patience=patience) as going:
        going.wait()
        return going
