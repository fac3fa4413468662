"""A fresh process that brings a pipeline into device memory, as ``open_pipeline`` does.

    python -m benchmarks.device_load time SERVER DRIVER LANES       where the time went, as JSON
    python -m benchmarks.device_load compare SERVER DRIVER LANES FILE …
                        how many tensors differ from what the safetensors library reads

DRIVER is ``cuda`` or ``fake``. BENCH_EXEC is the moment of exec on the monotonic clock, which all
processes of a host share. The clock of ``seconds`` starts after the imports.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bare_node import MODEL, PIPELINE
from benchmarks.resident import memory_of
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.driver import Driver
from replica_agent.arenas.cuda.memory import DeviceMemory
from replica_agent.arenas.host import HostMemory
from replica_agent.client import ControlClient
from replica_agent.core.devices import Placement
from replica_agent.pull import Pull
from replica_agent.tensors import Pipeline

DEVICE = "cuda:0"
FAKE_MEMORY = 2**34  # bytes
_TORCH = {"cuda": DEVICE, "fake": "cpu"}  # where torch finds the memory of a driver's device


def starting(driver: str) -> Callable[[], Driver]:
    """Return what starts ``driver``."""
    if driver == "cuda":
        return load_driver
    fake = importlib.import_module("tests.fakes.cuda_driver")
    made: Driver = fake.FakeDriver(memory=FAKE_MEMORY)
    return lambda: made


@contextmanager
def _loading(
    server: str, load: Callable[[], Driver], lanes: int
) -> Iterator[tuple[Pull, DeviceMemory, Pipeline]]:
    memory = DeviceMemory(Placement(DEVICE), HostMemory(), lanes, load)
    client = ControlClient(server, local=os.environ["REPLICA_AGENT_LOCAL_SOCKET"])
    pull = Pull(client, PIPELINE, memory.open_arenas, lanes=lanes)
    with Pipeline(pull, memory, DEVICE) as pipeline:
        yield pull, memory, pipeline
        if notes := pipeline.report().get("notes"):
            raise SystemExit(f"not measured: {'; '.join(notes)}")


def _time(server: str, driver: str, lanes: int) -> dict[str, object]:
    load, start = starting(driver), memory_of(os.getpid(), "VmRSS")
    begun = time.monotonic()
    with _loading(server, load, lanes) as (pull, memory, pipeline):
        last = _last_chunk(pull)
        pipeline.wait()
        ended = time.monotonic()
        report = pipeline.report()
    steps = memory.steps
    born = float(os.environ["BENCH_EXEC"])
    return {
        "seconds": ended - begun,
        "after_driver": ended - begun - steps.driver,
        "since_exec": ended - born,
        "steps": {
            "start": begun - born,
            "driver": steps.driver,
            "memory": steps.memory,
            "pull": last - begun - steps.driver - steps.memory,
            "tail": ended - last,
        },
        "size": report["verified_bytes"],
        "read_here": report.get("local_bytes", 0),
        "host": memory_of(os.getpid(), "VmHWM") - start,
    }


def _last_chunk(pull: Pull) -> float:
    """Wait until the last chunk was accepted, its copy queued; return when that was."""
    transfer, seen = pull.transfer(), 0
    while any(file.missing for file in transfer.files):
        seen += len(transfer.arrivals(MODEL, seen))
    return time.monotonic()


def _compare(server: str, driver: str, lanes: int, files: list[Path]) -> dict[str, int]:
    import torch  # noqa: PLC0415 - not in the process that is timed
    from safetensors.torch import load_file  # noqa: PLC0415

    load = starting(driver)
    before = load().open(0).room()[0] if driver == "cuda" else 0
    with _loading(server, load, lanes) as (_, _, pipeline):
        pipeline.wait()
        taken = before - load().open(0).room()[0] if driver == "cuda" else 0
        state = pipeline[MODEL].state_dict()
    different = total = 0
    for path in files:
        for name, tensor in load_file(path, device=_TORCH[driver]).items():
            total += 1
            different += not (
                state[name].device == tensor.device
                and state[name].dtype == tensor.dtype
                and torch.equal(state[name], tensor)
            )
    return {"different": different, "tensors": total, "taken": taken}


def _main(what: str, server: str, driver: str, lanes: str, *files: str) -> None:
    if what == "time":
        print(json.dumps(_time(server, driver, int(lanes))))
    else:
        print(json.dumps(_compare(server, driver, int(lanes), [Path(f) for f in files])))


if __name__ == "__main__":
    _main(*sys.argv[1:])
