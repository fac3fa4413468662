"""Rows about the S3 door: the same program reads the same bytes through us and from nginx.

nginx takes any signature for a good one and has nothing to look up: it is the floor of a server.
Both send with ``sendfile``, from the same page cache.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import nginx, peers
from benchmarks.bench import Bench
from benchmarks.checkpoints import data
from benchmarks.harness import Outcome, SkippedError, speed_ratio
from benchmarks.node import Node
from benchmarks.peers import S3
from cache_protocol.ranges import Span

_OBJECT = "weights.dat"
_BLOCK = 32 * 2**20  # bytes written at once


def runai(bench: Bench) -> Outcome:
    """Compare the streamer, which reads tensors with many connections, in C++."""
    if (reason := peers.install_runai()) is not None:
        raise SkippedError(reason)
    names = [path.name for path in bench.slot]
    with _floor(bench) as floor:
        return speed_ratio(
            partial(peers.runai_streamer, _door(bench.node), _keys(f"{bench.warm}/model", names)),
            partial(peers.runai_streamer, floor, _keys(bench.model.name, names)),
            bench.rounds,
            bench.size,
        )


def boto3(bench: Bench) -> Outcome:
    """Compare ``download_file`` of one object, of the size asked for."""
    directory = bench.scratch / "object"
    _write(directory, bench.asked)
    bench.node.put("object", {"model": f"file://{directory}"})
    bench.node.warm("object")
    with _floor(bench) as floor:
        return speed_ratio(
            partial(peers.download_file, _door(bench.node), "object", f"model/{_OBJECT}"),
            partial(peers.download_file, floor, directory.name, _OBJECT),
            bench.rounds,
            bench.asked,
        )


@contextmanager
def _floor(bench: Bench) -> Iterator[S3]:
    """Yield an nginx over what the node's pipelines were pulled from: a directory is a bucket."""
    if nginx.find_nginx() is None:
        raise SkippedError("nginx is not installed")
    with nginx.serving_directory(bench.scratch, bench.scratch / "nginx-s3") as url:
        yield S3(url)


def _door(node: Node) -> S3:
    """Return the S3 door of ``node``, as a replica's token opens it."""
    keys = node.call("POST", "/v1/tokens", {"role": "replica"})["s3"]
    return S3(f"{node.control}/s3", keys["access_key_id"], keys["secret_access_key"])


def _keys(bucket: str, names: list[str]) -> list[str]:
    return [f"{bucket}/{name}" for name in names]


def _write(directory: Path, size: int) -> None:
    directory.mkdir()
    with (directory / _OBJECT).open("wb") as file:
        for begin in range(0, size, _BLOCK):
            file.write(data(0, 0, Span(begin, min(begin + _BLOCK, size))).tobytes())
