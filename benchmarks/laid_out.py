"""One host that pulls a pipeline for the ranks of an engine, as ``replica-agent boot`` would.

    python -m benchmarks.laid_out PIPELINE laid-out|plain     prints one line of JSON, see the end

The clock starts before the manifest is asked for: the node is asked for its plans within it.
``wire`` is what came off the wire of the files, ``ranks`` the memory that the parameters of each
rank take in the end, as the kernel counts it.
"""

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence

from cache_protocol.manifest import Manifest
from replica_agent.arenas.by_plan import Choice, LaidOutMemory
from replica_agent.arenas.laid_out import LaidOutArena
from replica_agent.boot.asking import Asking, Patience
from replica_agent.client import ControlClient
from replica_agent.pull import Pull
from replica_agent.settings import from_environment

LAID_OUT, PLAIN = "laid-out", "plain"
_BLOCK = 512  # bytes; source: stat(2), st_blocks
_ARENA = 2**40  # bytes that arenas may take: as many as there are


def _plans(manifest: Manifest) -> Mapping[str, Choice]:
    """Return what the node keeps of each model; a ``by_plan.Choose``."""
    client = ControlClient.of(from_environment(os.environ))
    choices: dict[str, Choice] = {}
    patience = Patience(manifest.size)
    for name in manifest.models:
        asking = Asking(client, manifest, name, patience)
        listed = sorted(asking.listed(), key=lambda each: each.key.rank)
        choices[name] = Choice(asking.plans(listed), "as the benchmark wants it")
    client.close()
    return choices


def _memory_of(arena: LaidOutArena, ranks: int) -> Sequence[int]:
    """Return the bytes that each rank's memory takes."""
    taken: list[int] = []
    for rank in range(ranks):
        lent = arena.shard(rank)
        assert lent is not None, f"there is no plan of rank {rank}"
        taken.append(os.fstat(lent.fd).st_blocks * _BLOCK)
        os.close(lent.fd)
    return taken


def _main(pipeline: str, kind: str) -> None:
    choose = _plans if kind == LAID_OUT else lambda _: dict[str, Choice]()
    memory = LaidOutMemory(_ARENA, lambda _: None, choose)
    client = ControlClient.of(from_environment(os.environ))
    begun = time.perf_counter()
    with Pull(client, pipeline, memory.open_arenas) as pull:
        pull.wait()
        seconds = time.perf_counter() - begun
        transfer = pull.transfer()
        (arena,) = transfer.arenas.values()
        laid_out = isinstance(arena, LaidOutArena)
        assert laid_out == (kind == LAID_OUT), memory.notes
        ranks = _memory_of(arena, 2) if isinstance(arena, LaidOutArena) else ()
    sizes = {"wire": transfer.wire_bytes, "size": transfer.manifest.size, "ranks": ranks}
    print(json.dumps({"seconds": seconds, **sizes}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
