"""Processes of the vLLM venv, and model directories as a boot prepares them."""

import json
import subprocess
from pathlib import Path

from benchmarks.node import REPOSITORY, clean_environment
from replica_agent.handover.place import Origin, Place, write_place
from tests.fakes.node import FakeNode

WEIGHTS = ".safetensors"
LIMIT = 60.0  # seconds in which a process that has nothing more to do ends


def environment(**more):
    """Return the environment of an engine: offline, quiet, one thread per process."""
    return clean_environment(
        HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", VLLM_NO_USAGE_STATS="1",
        VLLM_CPU_KVCACHE_SPACE="1", OMP_NUM_THREADS="1", **more,
    )  # fmt: skip


class Engine:
    """A process of ``tests.engines.inprocess``, or of a module with the same manners."""

    def __init__(self, python, log, module="tests.engines.inprocess"):
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [python, "-m", module],
                cwd=REPOSITORY,
                env=environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()  # which it ends by, with all that it has started
        self._process.stdout.close()
        try:
            self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def start(self, **order):
        """Begin to run an engine; ``finish`` has to follow."""
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def finish(self):
        """Return what the engine made of its model."""
        # Libraries say things of their own, too.
        lines = iter(self._process.stdout.readline, "")
        line = next((line for line in lines if line.startswith("{")), None)
        assert line, self._log.read_text()[-4000:]
        return json.loads(line)

    def run(self, **order):
        self.start(**order)
        return self.finish()

    @property
    def log(self):
        return self._log.read_text()


def served(directory):
    """Return a node that has the files of ``directory`` as the model ``llm``."""
    files = {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.iterdir())}
    return FakeNode({"llm": files})


def prepare(to, tiny, socket, *, fallback="fail", origin=None):
    """Make ``to`` what a boot makes of a model: its small files, and where its agent is."""
    to.mkdir(mode=0o700)
    for path in tiny.iterdir():
        if path.suffix != WEIGHTS:
            (to / path.name).write_bytes(path.read_bytes())
    origin = None if origin is None else Origin(origin)
    write_place(to, Place(Path(socket), "llm", "voice", "g", fallback, origin))
    return to
