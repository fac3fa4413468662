"""Rows about what the programs cost: the agent's start, and the memory of either side."""

import statistics

from benchmarks.bench import Bench
from benchmarks.children import result_of
from benchmarks.first_request import first_request
from benchmarks.harness import Outcome
from benchmarks.replica import measure
from benchmarks.resident import watching
from cache_protocol.units import show_size

_READERS = 8
_MB = 1_000_000


def start(bench: Bench) -> Outcome:
    first_request(1)  # byte code is written once, on the first start after an installation
    samples = [1000 * seconds for seconds in first_request(max(3, min(10, bench.rounds * 5)))]
    spread = f"{min(samples):.0f}–{max(samples):.0f} ms over {len(samples)} starts"  # noqa: RUF001
    return Outcome(statistics.median(samples), spread, "", samples)


def agent_memory(bench: Bench) -> Outcome:
    result = measure(bench.node, bench.warm)
    above = (result["resident"] - result["size"]) / _MB
    return Outcome(above, show_size(result["resident"]), f"model {show_size(result['size'])}")


def serve_memory(bench: Bench) -> Outcome:
    manifest = bench.node.call("GET", f"/v1/pipelines/{bench.warm}/manifest")
    urls = [file["urls"][0] for file in manifest["models"]["model"]["files"] if file["size"]]
    size = bench.asked * 2
    with watching(bench.node.pid) as growth:
        seconds: float = result_of("benchmarks.readers", _READERS, size, *urls)
    rate = f"{_READERS * size / seconds / 1e9:.2f} GB/s to {_READERS} readers"
    return Outcome(growth.size / _MB, f"+{show_size(growth.size)} RssAnon", rate)


def fill_memory(bench: Bench) -> Outcome:
    with bench.hub() as (hub, node):
        models = {"a": hub.source("model"), "b": hub.source("model")}
        with bench.fresh(node, models) as pipeline, watching(node.pid) as growth:
            node.warm(pipeline)
            size = node.call("GET", f"/v1/pipelines/{pipeline}")["cache"]["size"]
    return Outcome(growth.size / _MB, f"+{show_size(growth.size)} RssAnon", show_size(size))
