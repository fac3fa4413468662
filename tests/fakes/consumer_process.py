"""A rank that loads a model and holds it: ``python -m … SOCKET MODEL RANK PEERS``.

Says ``{"sum", "tensors", "seconds", "grown"}`` once it has touched every byte, and ends with
stdin. ``grown`` is what the load added to the memory that the kernel charges this process with:
a page that two processes map counts half for each.
"""

import sys
import time
from pathlib import Path

from replica_agent.handover.client import attach
from replica_agent.handover.messages import Outcome
from tests.fakes.speaking_process import say, speaking_process


def main(path, model, rank, peers):
    import torch  # noqa: PLC0415 - others take ``charged`` from here without it

    torch.zeros(2**20).sum()  # what torch takes for itself is taken before
    before = charged()
    began = time.monotonic()
    with attach(Path(path), model, rank=int(rank), peers=int(peers)) as attached:
        state = dict(attached.tensors())
        attached.wait_confirmed()
        seconds = time.monotonic() - began
        total = sum(int(t.view(torch.uint8).sum()) for t in state.values())
        say({"sum": total, "tensors": len(state), "seconds": seconds})
        sys.stdin.readline()
        say({"grown": charged() - before})
        sys.stdin.readline()
        attached.done(Outcome.LOADED, seconds)


def charged():
    """Return the proportional set size of this process, in bytes."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def consumer_process(path, rank, peers):
    """Run one; yield its process."""
    return speaking_process("tests.fakes.consumer_process", path, "llm", rank, peers)


if __name__ == "__main__":
    main(*sys.argv[1:])
