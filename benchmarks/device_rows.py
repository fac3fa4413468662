"""How each row about a device is measured: fresh processes, in turns with their reference."""

import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from benchmarks import device_peers
from benchmarks.checkpoints import write_checkpoint
from benchmarks.children import ChildError, result_within, serving
from benchmarks.device_load import DEVICE
from benchmarks.harness import Outcome, SkippedError, speed_ratio
from replica_agent.arenas.cuda.bindings import load_driver

Load = dict[str, Any]  # what ``device_load time`` prints
LIMIT = 480.0  # seconds of a whole run: such machines are paid for by the minute


@dataclass
class OnDevice:
    """One run: a checkpoint, a node beside it, and the driver that is measured."""

    asked: int  # bytes
    rounds: int
    lanes: int
    driver: str  # "cuda" or "fake"
    directory: str | None
    loads: list[Load] = field(default_factory=list)
    ends: float = field(default_factory=lambda: time.monotonic() + LIMIT)
    _stack: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def files(self) -> list[Path]:
        """Safetensors files of about the size asked for."""
        made = tempfile.TemporaryDirectory(prefix="warmline-device-", dir=self.directory)
        out = Path(self._stack.enter_context(made))
        write_checkpoint(out, self.asked, shards=4)
        return sorted(out.glob("*.safetensors"))

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(path.stat().st_size for path in self.files)

    @cached_property
    def server(self) -> str:
        """URL of a node that serves the files until the end."""
        return self._stack.enter_context(serving("benchmarks.bare_node", *self.files))

    @property
    def torch_device(self) -> str:
        """Where other libraries bring tensors to."""
        return DEVICE if self.driver == "cuda" else "cpu"

    def result_of(self, module: str, *arguments: object, **env: str) -> Any:
        """Do as ``children.result_within``, for what is left of the run's time.

        Raises:
            SkippedError: nothing is left of it.
            ChildError: the child failed.
        """
        left = self.ends - time.monotonic()
        if left > 0:
            try:
                return result_within(left, module, *arguments, **env)
            except ChildError:
                if time.monotonic() < self.ends:
                    raise
        raise SkippedError(f"the {LIMIT / 60:.0f} minutes of a run are over")

    @cached_property
    def compared(self) -> dict[str, int]:
        """Compare every tensor with the safetensors library's, and say what memory is gone."""
        found: dict[str, int] = self.result_of(
            "benchmarks.device_load",
            "compare",
            self.server,
            self.driver,
            self.lanes,
            *self.files,
            REPLICA_AGENT_LOCAL_SOCKET="auto",
        )
        return found

    @cached_property
    def pair(self) -> str:
        """Two ranks' devices, in the words of --device: one has both where there is one."""
        several = self.driver == "cuda" and load_driver().count() > 1
        return "cuda:0,1" if several else "cuda:0,0"

    @cached_property
    def adopted(self) -> dict[str, Any]:
        """Lay the model out for two ranks; return what their engines' processes find."""
        found: dict[str, Any] = self._shards("adopted", self.pair)
        return found

    def seconds_for(self, word: str) -> float:
        """Return how long it took to lay the model out, a device of ``word`` for each rank."""
        taken: float = self._shards("time", word)["after_driver"]
        return taken

    def _shards(self, what: str, word: str) -> Any:
        return self.result_of(
            "benchmarks.device_shards",
            what,
            self.server,
            self.driver,
            self.lanes,
            word,
            *self.files,
            REPLICA_AGENT_LOCAL_SOCKET="auto",
        )

    def load(self, local: str = "auto") -> Load:
        """Load in a fresh process; from the node's files on this host, or with "off" by TCP."""
        server = self.server  # it starts before the clock
        result: Load = self.result_of(
            "benchmarks.device_load",
            "time",
            server,
            self.driver,
            self.lanes,
            BENCH_EXEC=repr(time.monotonic()),
            REPLICA_AGENT_LOCAL_SOCKET=local,
        )
        if local == "auto":
            self.loads.append(result)
        return result

    def seconds(self, local: str = "auto") -> float:
        """Return how long ``load`` took once the driver had started."""
        taken: float = self.load(local)["after_driver"]
        return taken


_RATES = "benchmarks.device_rates"


def bound(run: OnDevice) -> Outcome:
    """Compare a load to the slower of pinned copies and cached reads."""
    copies: list[float] = []
    reads: list[float] = []

    def fastest() -> float:
        size = min(run.size, 4 * 2**30)
        copies.append(run.result_of(_RATES, "copy", run.driver, run.lanes, size))
        reads.append(run.result_of(_RATES, "read", run.lanes, *run.files))
        return run.size / min(copies[-1], reads[-1])

    outcome = speed_ratio(run.seconds, fastest, run.rounds, run.size)
    both = (
        f"copies {statistics.median(copies) / 1e9:.1f} GB/s, "
        f"reads {statistics.median(reads) / 1e9:.1f} GB/s"
    )
    return Outcome(outcome.value, outcome.ours, both, outcome.samples)


def network(run: OnDevice) -> Outcome:
    """Compare a load from the node's own files to one over TCP."""
    return speed_ratio(run.seconds, partial(run.seconds, "off"), run.rounds, run.size)


def peer(name: str, run: OnDevice) -> Outcome:
    """Compare a load to another library's, the device open in both."""
    if not device_peers.is_there(name):
        raise SkippedError(f"{device_peers.MODULES[name]} is not installed")
    theirs = partial(run.result_of, "benchmarks.device_peers", name, run.torch_device, *run.files)
    return speed_ratio(run.seconds, theirs, run.rounds, run.size)


def one_rank(run: OnDevice) -> Outcome:
    """Compare a load into the parameters of one rank to one into files."""
    ours = partial(run.seconds_for, DEVICE)
    return speed_ratio(ours, run.seconds, run.rounds, run.size)


def two_ranks(run: OnDevice) -> Outcome:
    """Compare a load for two ranks to one for a single rank."""
    outcome = speed_ratio(
        partial(run.seconds_for, run.pair), partial(run.seconds_for, DEVICE), run.rounds, run.size
    )
    return replace(outcome, ours=f"{outcome.ours} on {run.pair}")


def shard_size(run: OnDevice) -> Outcome:
    """Compare the memory of one of two ranks to the model."""
    size = run.adopted["size"]
    return Outcome(size / run.size, f"{size / 1e6:.0f} MB", f"model {run.size / 1e6:.0f} MB")


def adopted(run: OnDevice) -> Outcome:
    """Count the parameters of two engines' processes that are not those of the checkpoint."""
    found = run.adopted
    return Outcome(found["different"], f"{found['parameters']} parameters", "what the files hold")


def adoption(run: OnDevice) -> Outcome:
    """Say how long an engine takes to have its weights, in ms, once the agent has them."""
    taken = run.adopted["seconds"] * 1e3
    return Outcome(taken, f"{taken:.1f} ms", "")


def pinned(run: OnDevice) -> Outcome:
    """Compare an engine's own copies out of memory that is pinned on their way to plain ones."""
    size = min(run.size, 4 * 2**30)
    ours, plain = (
        partial(run.result_of, "benchmarks.device_pins", run.driver, size, way)
        for way in ("pinned", "plain")
    )
    return speed_ratio(ours, plain, run.rounds, size)


def host_memory(run: OnDevice) -> Outcome:
    """Say what a load takes of the host's memory, in MB: what it starts from is not counted."""
    if run.driver != "cuda":
        raise SkippedError("the fake driver's device memory is the host's")
    taken = [load["host"] / 1e6 for load in run.loads or [run.load()]]
    return Outcome(statistics.median(taken), f"{statistics.median(taken):.0f} MB", "", taken)


def device_memory(run: OnDevice) -> Outcome:
    """Compare the device memory that is gone after a load to the model."""
    if run.driver != "cuda":
        raise SkippedError("a fake device does not share its memory with others")
    taken = run.compared["taken"]
    return Outcome(taken / run.size, f"{taken / 1e6:.0f} MB", f"model {run.size / 1e6:.0f} MB")


def identical(run: OnDevice) -> Outcome:
    """Count the tensors that are not those of the safetensors library."""
    found = run.compared
    return Outcome(found["different"], f"{found['tensors']} tensors", "safetensors.load_file")
