"""Rows about the S3 door: the same program reads the same bytes through us and from nginx.

nginx takes any signature for a good one and has nothing to look up: it is the floor of a server.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import nginx, peers
from benchmarks.bench import Bench
from benchmarks.harness import Outcome, Row, SkippedError, at_least, speed_ratio
from benchmarks.node import Node
from benchmarks.peers import S3


def runai(bench: Bench) -> Outcome:
    """Compare the streamer, which reads with many connections in C++."""
    if (reason := peers.install_runai()) is not None:
        raise SkippedError(reason)
    names = [path.name for path in bench.slot]
    with _both(bench) as (ours, bucket, floor, floors_bucket):
        return speed_ratio(
            partial(peers.runai_streamer, ours, [f"{bucket}/model/{name}" for name in names]),
            partial(peers.runai_streamer, floor, [f"{floors_bucket}/{name}" for name in names]),
            bench.rounds,
            bench.size,
        )


def boto3(bench: Bench) -> Outcome:
    """Compare ``download_file`` of one object."""
    file = max(bench.slot, key=lambda path: path.stat().st_size)
    with _both(bench) as (ours, bucket, floor, floors_bucket):
        return speed_ratio(
            partial(peers.download_file, ours, bucket, f"model/{file.name}"),
            partial(peers.download_file, floor, floors_bucket, file.name),
            bench.rounds,
            file.stat().st_size,
        )


@contextmanager
def _both(bench: Bench) -> Iterator[tuple[S3, str, S3, str]]:
    """Yield our endpoint and bucket, and those of an nginx over the very files of the slot."""
    if nginx.find_nginx() is None:
        raise SkippedError("nginx is not installed")
    directory = Path(os.path.commonpath([path.parent for path in bench.slot]))
    with nginx.serving_directory(directory.parent, bench.scratch / "nginx-s3") as url:
        yield access_to(bench.node), bench.warm, S3(url), directory.name


def access_to(node: Node) -> S3:
    """Return the S3 door of ``node`` as a replica's token opens it."""
    keys = node.call("POST", "/v1/tokens", {"role": "replica"})["s3"]
    return S3(f"{node.control}/s3", keys["access_key_id"], keys["secret_access_key"])


ROWS: tuple[Row[Bench], ...] = (
    Row("s3-runai", "Run:ai streamer, S3 door / nginx", at_least(0.9), runai),
    Row("s3-boto3", "boto3 download_file, S3 door / nginx", at_least(0.8), boto3),
)
