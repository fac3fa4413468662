"""Fresh processes: an agent that lays a model out for ranks, and engines that adopt their shards.

    python -m benchmarks.device_shards time SERVER DRIVER LANES WORD FILE …
                        how long it took, as JSON; WORD is as --device has it: a device a rank
    python -m benchmarks.device_shards adopted SERVER DRIVER LANES WORD FILE …
                        what an engine's process for each rank finds: see ``Adopted``
    python -m benchmarks.device_shards engine SOCKET DRIVER RANK RANKS FILE …
                        one of those

DRIVER is ``cuda`` or ``fake``. The plans are those of ``ranks``.
"""

import json
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from benchmarks.bare_node import MODEL, PIPELINE
from benchmarks.children import result_of
from benchmarks.device_load import starting
from benchmarks.ranks import Header, plans
from cache_protocol.plans import Parameter, Plan
from replica_agent.arenas.by_plan import Choice, LaidOutMemory
from replica_agent.arenas.cuda.ranks import RankDevices
from replica_agent.client import ControlClient
from replica_agent.handover.client import attach
from replica_agent.handover.messages import Outcome
from replica_agent.handover.server import HandoverServer
from replica_agent.pull import Pull
from replica_agent.readiness import read_header

Bytes = npt.NDArray[np.uint8]


class Adopted(TypedDict):
    """What one engine found, or all of them together."""

    different: int  # parameters
    parameters: int
    seconds: float  # to have the shard as a tensor, once the agent had it; the slowest
    size: int  # bytes of a shard; the largest


@contextmanager
def _laying_out(
    server: str, driver: str, lanes: int, word: str, wanted: Sequence[Plan]
) -> Iterator[tuple[Pull, RankDevices]]:
    ranks = RankDevices(word, lanes, starting(driver))
    choice = Choice(wanted, "laid out", ranks.layer)
    memory = LaidOutMemory(None, lambda _: None, lambda _: {MODEL: choice})
    client = ControlClient(server, local=os.environ["REPLICA_AGENT_LOCAL_SOCKET"])
    with Pull(client, PIPELINE, memory.open_arenas, lanes=lanes) as pull:
        yield pull, ranks
        notes = [*memory.notes, *ranks.notes]
        if notes != [f"{MODEL}: laid out"]:
            raise SystemExit(f"not measured: {'; '.join(notes)}")
    memory.forget()


def _time(
    server: str, driver: str, lanes: int, word: str, files: Sequence[Path]
) -> dict[str, object]:
    wanted = _plans(files, _ranks(word))
    begun = time.monotonic()
    with _laying_out(server, driver, lanes, word, wanted) as (pull, ranks):
        pull.wait()
        seconds = time.monotonic() - begun
        transfer = pull.transfer()
    return {
        "seconds": seconds,
        "after_driver": seconds - ranks.steps.driver,
        "size": transfer.verified_bytes,
        "read_here": transfer.local_bytes,
    }


def _adopted(server: str, driver: str, lanes: int, word: str, files: Sequence[Path]) -> Adopted:
    count = _ranks(word)
    found: list[Adopted] = []
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="warmline-"))
        pull, _ = stack.enter_context(
            _laying_out(server, driver, lanes, word, _plans(files, count))
        )
        with HandoverServer(pull, Path(directory)) as handover:
            pull.wait()
            for rank in range(count):
                engine = ("engine", handover.path, driver, rank, count, *files)
                found.append(result_of("benchmarks.device_shards", *engine))
            pull.close()
    return {
        "different": sum(each["different"] for each in found),
        "parameters": sum(each["parameters"] for each in found),
        "seconds": max(each["seconds"] for each in found),
        "size": max(each["size"] for each in found),
    }


def _engine(path: Path, driver: str, rank: int, ranks: int, files: Sequence[Path]) -> Adopted:
    import torch  # noqa: PLC0415 - not in the process that is timed

    from replica_agent.engines.device_shard import device_shard  # noqa: PLC0415

    if driver == "cuda":
        torch.empty(1, device="cuda")  # an engine has a device open long before it loads
    with attach(path, MODEL, rank=rank, peers=ranks, adopts=True) as attached:
        attached.wait_confirmed()
        shard = attached.shard
        if shard is None:
            raise SystemExit("the agent has no shard for this rank")
        begun = time.perf_counter()
        descriptor = shard.take()
        flat = device_shard(descriptor, shard.size, shard.device, starting(driver))
        os.close(descriptor)
        seconds = time.perf_counter() - begun
        attached.done(Outcome.LOADED, seconds)
    plan = _plans(files, ranks)[rank]
    found = [flat[at : at + p.size].cpu().numpy() for at, p in _placed(plan)]
    truth = _read(plan, files)
    different = sum(not np.array_equal(*each) for each in zip(found, truth, strict=True))
    size, parameters = shard.size, len(plan.parameters)
    return {"different": different, "parameters": parameters, "seconds": seconds, "size": size}


def _plans(files: Sequence[Path], ranks: int) -> list[Plan]:
    return plans("0" * 32, {path.name: _header(path) for path in files}, ranks)


def _header(path: Path) -> Header:
    with path.open("rb") as file:
        content = memoryview(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    entries = read_header(content)
    return len(content), min(entry.span.begin for entry in entries), entries


def _placed(plan: Plan) -> Iterator[tuple[int, Parameter]]:
    return zip(plan.places, plan.parameters, strict=False)


def _read(plan: Plan, files: Sequence[Path]) -> list[Bytes]:
    """Return the bytes of each parameter, out of the files."""
    contents = [np.memmap(path, mode="r") for path in files]
    made = [np.zeros(parameter.size, np.uint8) for parameter in plan.parameters]
    for p in plan.pieces:
        runs = _runs(made[p.parameter][p.place :], p.runs, p.stride, p.run)
        runs[:] = _runs(contents[p.file][p.begin :], p.runs, p.pitch, p.run)
    return made


def _runs(content: Bytes, runs: int, step: int, run: int) -> Bytes:
    return np.lib.stride_tricks.as_strided(content, (runs, run), (step, 1))


def _ranks(word: str) -> int:
    return word.count(",") + 1


def _main(what: str, *given: str) -> None:
    if what == "engine":
        path, driver, rank, ranks, *files = given
        found = _engine(Path(path), driver, int(rank), int(ranks), [Path(f) for f in files])
        print(json.dumps(found))
        return
    server, driver, lanes, word, *files = given
    act = {"time": _time, "adopted": _adopted}[what]
    print(json.dumps(act(server, driver, int(lanes), word, [Path(f) for f in files])))


if __name__ == "__main__":
    _main(*sys.argv[1:])
