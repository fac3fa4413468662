"""An agent that goes wrong in one way, once: ``python -m … ACT SOCKET``. It then stands still."""

import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

from replica_agent.handover.lines import Lines


def main(act, path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sock, _ = listener.accept()
        lines = Lines(sock)
        lines.read()
        memory = os.memfd_create("acting")
        os.ftruncate(memory, 4096)
        version = 2 if act == "version" else 1
        words = {"handover": version, "generation": "g", "size": 4096, "files": 1}
        lines.write(words, [memory])
        lines.write({"files": [["model.safetensors", 0, 4096]]})
        if act == "early":
            lines.write({"confirmed": True})
        threading.Event().wait()


@contextmanager
def acting_agent(directory, act):
    """Run one; yield the process and the path of its socket."""
    path = directory / "s"
    command = [sys.executable, "-m", "tests.fakes.acting_agent", act, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            yield process, path
        finally:
            process.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
