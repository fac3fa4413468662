"""Rows about a pipeline that nobody has pulled before: the fill, and replicas that wait for it."""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from benchmarks import disk
from benchmarks.bench import LANES, Bench
from benchmarks.children import result_of
from benchmarks.harness import Outcome, time_ratio
from benchmarks.hub import Hub
from benchmarks.node import Node
from benchmarks.replica import measure, pull
from cache_protocol.units import show_size

_REPLICAS = 10
_ORIGIN_RATE = "200MB"  # a second, over all connections, of an origin that is far away
_LANES = 8  # of a plain download, as many as download tools use


def cold(bench: Bench) -> Outcome:
    with bench.hub(_ORIGIN_RATE) as (hub, node):
        return time_ratio(
            partial(_cold_pull, bench, hub, node), partial(_download, bench, hub), bench.rounds
        )


def _cold_pull(bench: Bench, hub: Hub, node: Node) -> float:
    with bench.fresh(node, {"model": hub.source("model")}) as pipeline:
        return pull(node, pipeline)


def _download(bench: Bench, hub: Hub) -> float:
    urls = hub.file_urls("model", bench.slot)
    seconds: float = result_of("benchmarks.download", _LANES, *urls)
    return seconds


def once(bench: Bench) -> Outcome:
    with bench.hub(_ORIGIN_RATE) as (hub, node):
        before = hub.sent()
        with (
            bench.fresh(node, {"model": hub.source("quarter")}) as pipeline,
            ThreadPoolExecutor(_REPLICAS) as pool,
        ):
            results = list(pool.map(lambda _: measure(node, pipeline), range(_REPLICAS)))
        sent, size = hub.sent() - before, results[0]["size"]
    slowest = max(result["seconds"] for result in results)
    ours = f"{show_size(sent)} sent, slowest of {_REPLICAS} {slowest:.2f} s"
    return Outcome(sent / size, ours, show_size(size))


def fill(bench: Bench) -> Outcome:
    ratios: list[float] = []
    seconds: list[tuple[float, float, float]] = []
    with bench.hub() as (hub, node):
        for _ in range(bench.rounds):
            ours, origin, written = (
                _settled(partial(_fill_once, bench, hub, node)),
                _settled(partial(_download, bench, hub)),
                _settled(partial(_write, bench)),
            )
            ratios.append(max(origin, written) / ours)
            seconds.append((ours, origin, written))
    rate = [bench.size / statistics.median(side) / 1e9 for side in zip(*seconds, strict=True)]
    reference = f"origin {rate[1]:.2f}, disk {rate[2]:.2f} GB/s"
    return Outcome(statistics.median(ratios), f"{rate[0]:.2f} GB/s", reference, ratios)


def _fill_once(bench: Bench, hub: Hub, node: Node) -> float:
    with bench.fresh(node, {"model": hub.source("model")}) as pipeline:
        begun = time.perf_counter()
        node.warm(pipeline)
        return time.perf_counter() - begun


def _write(bench: Bench) -> float:
    return disk.write(bench.scratch, [path.stat().st_size for path in bench.slot], LANES)


def _settled(measurement: Callable[[], float]) -> float:
    os.sync()  # what the one before wrote is not this one's to wait for
    return measurement()
