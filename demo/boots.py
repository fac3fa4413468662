"""Run one boot of the replica as a fresh process, and follow what it reports while it runs."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.node import Node, clean_environment

OnProgress = Callable[[int], None]  # bytes that have arrived and been checked so far


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a boot; phases overlap."""

    name: str
    start: float  # seconds after exec
    seconds: float


@dataclass(frozen=True, slots=True)
class Boot:
    """One start of a replica, from exec to weights that are loaded and confirmed."""

    phases: tuple[Phase, ...]
    seconds: float  # from exec until the last tensor is loaded
    size: int  # bytes pulled and checked
    tensors: int  # compared with the safetensors library's own reading
    different: tuple[str, ...]  # names of tensors that are not equal

    def phase(self, name: str) -> Phase:
        """Return a phase by its name."""
        return next(phase for phase in self.phases if phase.name == name)

    @property
    def weights_after(self) -> float:
        """Seconds from exec until every byte was in memory and confirmed."""
        pull = self.phase("pull")
        return pull.start + pull.seconds

    @property
    def waited(self) -> float:
        """Seconds that the engine had nothing to do but wait for weights."""
        return self.phase("weight-wait").seconds


class BootError(RuntimeError):
    """The replica failed; the text is its own last words."""


def boot(node: Node, pipeline: str, sources: Mapping[str, Path], on_progress: OnProgress) -> Boot:
    """Start a replica of ``pipeline`` and return what it measured once it has ended.

    Raises:
        BootError: it ended with an error.
    """
    command = [sys.executable, "-m", "demo.replica", pipeline]
    command += [f"{name}={directory}" for name, directory in sources.items()]
    environment = clean_environment(
        REPLICA_AGENT_SERVER=node.control,
        REPLICA_AGENT_TOKEN=node.token,
        DEMO_EXEC=repr(time.monotonic()),  # one clock for all processes of the machine
    )
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        report: dict[str, Any] = {}
        for line in process.stdout:
            report = json.loads(line)
            if "arrived" in report:
                on_progress(report["arrived"])
        words = process.stderr.read()
    if process.returncode or "phases" not in report:
        raise BootError(f"the replica ended with {process.returncode}:\n{words[-2000:]}")
    return Boot(
        phases=tuple(Phase(**fields) for fields in report["phases"]),
        seconds=report["seconds"],
        size=report["size"],
        tensors=report["tensors"],
        different=tuple(report["different"]),
    )
