"""Rows about a host with two ranks: how fast it pulls for them, and how much of what it holds."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import laid_out, ranks
from benchmarks.bench import Bench
from benchmarks.children import result_of
from benchmarks.harness import Outcome, speed_ratio
from cache_protocol.plans import checkpoint_digest, dump_plan
from cache_protocol.safetensors_header import PREFIX, header_size, parse_header
from cache_protocol.units import show_size
from replica_agent.client import ControlClient

_RANKS = 2


def rate(bench: Bench) -> Outcome:
    _leave_plans(bench)
    return speed_ratio(
        lambda: float(_lay_out(bench)["seconds"]),
        lambda: float(_measure(bench, laid_out.PLAIN)["seconds"]),
        bench.rounds,
        bench.size,
    )


def received(bench: Bench) -> Outcome:
    return _share(bench, lambda result: int(result["wire"]), f"for {_RANKS} ranks")


def memory(bench: Bench) -> Outcome:
    return _share(bench, lambda result: int(max(result["ranks"])), "the larger rank")


def _share(bench: Bench, part: Callable[[Any], int], what: str) -> Outcome:
    """Return a part of what laid-out pulls say, as a share of the model."""
    results = _laid_out(bench)
    shares = [part(result) / result["size"] for result in results]
    ours = f"{show_size(part(results[0]))} {what}"
    return Outcome(median(shares), ours, f"model {show_size(results[0]['size'])}", shares)


def _laid_out(bench: Bench) -> list[Any]:
    """Return what laid-out pulls say: those of ``rate``, or some where it has not run."""
    if not bench.laid_out:
        _leave_plans(bench)
        for _ in range(bench.rounds):
            _lay_out(bench)
    return bench.laid_out


def _lay_out(bench: Bench) -> Any:
    bench.laid_out.append(_measure(bench, laid_out.LAID_OUT))
    return bench.laid_out[-1]


def _measure(bench: Bench, kind: str) -> Any:
    return result_of(
        "benchmarks.laid_out",
        bench.warm,
        kind,
        REPLICA_AGENT_SERVER=bench.node.control,
        REPLICA_AGENT_TOKEN=bench.node.token,
    )


def _leave_plans(bench: Bench) -> None:
    """Have the node know the plans of both ranks, as after an engine's first start."""
    client = ControlClient(bench.node.control, bench.node.token)
    manifest = client.manifest(bench.warm)
    (model,) = manifest.models
    checkpoint = checkpoint_digest(manifest.models[model], manifest.generation)
    headers = {path.name: _header(path) for path in sorted(bench.model.glob("*.safetensors"))}
    for plan in ranks.plans(checkpoint, headers, _RANKS):
        client.put_document(bench.warm, model, plan.key.digest, dump_plan(plan))
    client.give_back(manifest.lease.id)
    client.close()


def _header(path: Path) -> ranks.Header:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = header_size(file.read(PREFIX), file_size=size)
        return size, PREFIX + length, parse_header(file.read(length), file_size=size)
