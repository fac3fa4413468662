"""A pull and its hand-over in a process of its own, to be killed: ``python -m … URL PIPELINE DIR``.

What the node keeps plans of is laid out by them, whoever they are for.
Says ``ready`` when it listens, ``attached`` when the first consumer asked and ``consumed`` when
every model was taken; ends when stdin ends.
"""

import sys
import threading
from contextlib import contextmanager
from pathlib import Path

from replica_agent.arenas.by_plan import Choice, LaidOutMemory
from replica_agent.boot.asking import Asking, Patience
from replica_agent.client import ControlClient
from replica_agent.handover.server import SOCKET, HandoverServer
from replica_agent.pull import Pull
from tests.fakes.speaking_process import speaking_process


def main(url, pipeline, directory):
    memory = LaidOutMemory(2**34, lambda _: None, lambda manifest: kept(url, manifest))
    with Pull(ControlClient(url), pipeline, memory.open_arenas) as pull:
        server = HandoverServer(pull, Path(directory)).start()
        say("ready")
        threading.Thread(target=tell, args=(server,), daemon=True).start()
        sys.stdin.read()
        pull.close()
        server.close()


def kept(url, manifest):
    """Return a choice for each model of ``manifest``."""
    client = ControlClient(url)
    asking = [Asking(client, manifest, model, Patience(2**40)) for model in manifest.models]
    return {each.name: Choice(each.plans(each.listed()), "laid out") for each in asking}


def tell(server):
    with server._changed:
        server._changed.wait_for(lambda: server._consumers)
    say("attached")
    if server.wait_consumed():
        say("consumed")


def say(word):
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


@contextmanager
def agent_process(node, directory):
    """Run it for ``node``; yield the process and the path of its socket."""
    words = (node.url, node.pipeline, directory)
    with speaking_process("tests.fakes.agent_process", *words) as process:
        assert process.stdout.readline() == "ready\n"
        yield process, Path(directory) / SOCKET


if __name__ == "__main__":
    main(*sys.argv[1:])
