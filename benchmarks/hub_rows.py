"""Rows about the hub's door: a program of the Hugging Face world, through us and past us."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.harness import Outcome, time_ratio
from benchmarks.hub import OWNER, Hub, running_hub
from benchmarks.node import Node, running_node

_NAME = "snapshot"
_REPOSITORY = f"{OWNER}/{_NAME}"
# What lies beside two shards, their index and a config: 13 files, of the sizes that they have in
# the repository of a Llama. A tokenizer is large enough that it leaves by the data plane.
_BESIDE = {
    ".gitattributes": 1_519,
    "LICENSE": 7_627,
    "README.md": 44_042,
    "generation_config.json": 184,
    "merges.txt": 1_671_853,
    "special_tokens_map.json": 296,
    "tokenizer.json": 9_085_657,
    "tokenizer_config.json": 55_351,
    "vocab.json": 2_776_833,
}


def snapshot(bench: Bench) -> Outcome:
    """Return how many times as long a snapshot takes through a warm node as from the hub itself."""
    with _warm(bench) as (hub, node):
        return time_ratio(
            partial(peers.snapshot_download, *_through(node)),
            partial(peers.snapshot_download, hub.url, _REPOSITORY),
            bench.rounds,
        )


def silence(bench: Bench) -> Outcome:
    """Return how many requests the hub is asked while warm snapshots are downloaded."""
    with _warm(bench) as (hub, node):
        before = hub.asked()
        for _ in range(bench.rounds):
            peers.snapshot_download(*_through(node))
        asked = hub.asked() - before
    return Outcome(asked, f"{asked} requests", f"{bench.rounds} snapshots")


def _through(node: Node) -> tuple[str, str, str]:
    """Return endpoint, repository and token of a client of ``node``."""
    token = node.call("POST", "/v1/tokens", {"role": "replica"})["token"]
    return f"{node.control}/hf/{_NAME}", _REPOSITORY, token


@contextmanager
def _warm(bench: Bench) -> Iterator[tuple[Hub, Node]]:
    """Run a hub with a snapshot of 13 files, and a node that has pulled it."""
    with (
        running_hub(bench.scratch / "door-hub", {_NAME: _files(bench)}) as hub,
        running_node(bench.scratch / "door-cache", env={"HF_ENDPOINT": hub.url}) as node,
    ):
        node.put(_NAME, {"model": hub.source(_NAME)})
        node.warm(_NAME)
        yield hub, node


def _files(bench: Bench) -> Path:
    """Return a directory of 13 files: the bench's model, and what lies beside one."""
    directory = bench.scratch / "thirteen"
    if not directory.exists():
        directory.mkdir()
        for path in bench.model.iterdir():
            os.link(path, directory / path.name)
        for name, size in _BESIDE.items():
            (directory / name).write_bytes(Random(name).randbytes(size))
    return directory
