"""A rank that is given its shard and holds it: ``python -m … SOCKET MODEL RANK PEERS``.

Says ``{"plan"}`` once it is attached, ``{"sha256", "grown"}`` of its memory once that is confirmed
(and ``{"failed"}`` where it is not), then holds it until a line comes on stdin, when it says the
sha256 again and ends. ``grown`` is what the kernel charges this process more for.
"""

import hashlib
import sys
from pathlib import Path

from cache_protocol.errors import CacheError
from replica_agent.handover.client import attach
from replica_agent.handover.messages import Outcome
from tests.fakes.consumer_process import charged
from tests.fakes.speaking_process import say, speaking_process

SILENCE = 600.0  # seconds, longer than any test: who waits for it learns nothing at once


def main(path, model, rank, peers):
    before = charged()
    words = {"rank": int(rank), "peers": int(peers), "adopts": True, "silence": SILENCE}
    with attach(Path(path), model, **words) as attached:
        say({"plan": attached.shard and attached.shard.plan})
        memory = attached.shard and attached.shard.map()
        try:
            attached.wait_confirmed()
            attached.done(Outcome.LOADED, 0.0, adopted=len(memory or b""))
        except CacheError as error:
            say({"failed": error.code})
            return
    say({"sha256": hashlib.sha256(memory or b"").hexdigest(), "grown": charged() - before})
    sys.stdin.readline()
    say({"sha256": hashlib.sha256(memory or b"").hexdigest()})


def rank_process(path, rank, peers=1):
    """Run one; yield its process."""
    return speaking_process("tests.fakes.rank_process", path, "llm", rank, peers)


if __name__ == "__main__":
    main(*sys.argv[1:])
