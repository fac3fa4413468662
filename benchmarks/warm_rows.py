"""Rows about a pipeline that is warm: against the machine's floor, and against other programs."""

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import disk, nginx, peers
from benchmarks.bench import LANES, Bench
from benchmarks.children import result_of, serving
from benchmarks.harness import Outcome, SkippedError, speed_ratio
from benchmarks.node import Node
from benchmarks.replica import pull, pull_here, pull_mapped


def floor(bench: Bench) -> Outcome:
    return _against_the_floor(bench, pull)


def mapped(bench: Bench) -> Outcome:
    return _against_the_floor(bench, pull_mapped)


def _against_the_floor(bench: Bench, ours: Callable[[Node, str], float]) -> Outcome:
    with serving("benchmarks.floor", "send", *bench.slot) as port:
        return speed_ratio(
            partial(ours, bench.node, bench.warm),
            lambda: result_of("benchmarks.floor", "receive", port, LANES, *bench.slot),
            bench.rounds,
            bench.size,
        )


def local(bench: Bench) -> Outcome:
    return speed_ratio(
        partial(pull_here, bench.node, bench.warm),
        partial(pull, bench.node, bench.warm),
        bench.rounds,
        bench.size,
    )


def tls(bench: Bench) -> Outcome:
    return speed_ratio(
        partial(pull, bench.encrypted, bench.warm),
        partial(pull, bench.node, bench.warm),
        bench.rounds,
        bench.size,
    )


def dropped(bench: Bench) -> Outcome:
    stayed: list[float] = []

    def ours() -> float:
        stayed.append(disk.drop_pages(bench.slot))
        return pull(bench.node, bench.warm)

    def plain() -> float:
        stayed.append(disk.drop_pages(bench.slot))
        seconds: float = result_of("benchmarks.disk", LANES, *bench.slot)
        return seconds

    outcome = speed_ratio(ours, plain, bench.rounds, bench.size)
    if max(stayed) > 0.01:
        raise SkippedError(f"{max(stayed):.0%} of the pages cannot be dropped here")
    return outcome


def aria2c(bench: Bench) -> Outcome:
    if shutil.which("aria2c") is None or nginx.find_nginx() is None:
        raise SkippedError("aria2c or nginx is not installed")
    directory = Path(os.path.commonpath(bench.slot))
    with nginx.serving_directory(directory, bench.scratch / "nginx") as url:
        urls = [f"{url}/{path.relative_to(directory)}" for path in bench.slot]
        return speed_ratio(
            partial(pull, bench.node, bench.warm),
            partial(peers.aria2c, urls),
            bench.rounds,
            bench.size,
        )


def snapshot(bench: Bench) -> Outcome:
    with bench.hub() as (hub, _):
        repository = hub.source("model").removeprefix("hf://")
        return speed_ratio(
            partial(pull, bench.node, bench.warm),
            partial(peers.snapshot_download, hub.url, repository),
            bench.rounds,
            bench.size,
        )


def runai(bench: Bench) -> Outcome:
    if nginx.find_nginx() is None:
        raise SkippedError("nginx is not installed")
    if (reason := peers.install_runai()) is not None:
        raise SkippedError(reason)
    directory = Path(os.path.commonpath(bench.slot))
    keys = [f"{directory.name}/{path.relative_to(directory)}" for path in bench.slot]
    with nginx.serving_directory(directory.parent, bench.scratch / "s3") as url:
        return speed_ratio(
            partial(pull, bench.node, bench.warm),
            partial(peers.runai_streamer, peers.S3(url), keys),
            bench.rounds,
            bench.size,
        )
