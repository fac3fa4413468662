"""Print how fast a replica is while crowds sit on both planes, as a ratio to an empty node.

    python -m benchmarks.crowds             10 000 connections on each plane, about a minute
    python -m benchmarks.crowds --smoke     few: does every row run?

A pull is a whole one: manifest, lanes, every byte checked. With and without the crowd take turns,
and the median over the rounds counts.
"""

import argparse
import json
import resource
import sys
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlsplit

from rich.console import Console

from benchmarks import harness
from benchmarks.bench import Bench
from benchmarks.children import serving
from benchmarks.harness import Outcome, Row, SkippedError, at_least, speed_ratio
from benchmarks.replica import pull
from cache_protocol.units import parse_size

COUNT = 10_000  # connections on each plane
_SIZE = 1_000_000_000  # bytes
_FEW, _SMALL = 200, 40_000_000  # of a smoke run
_SPARE = 100  # descriptors that a crowd needs besides
_WIDTH = 132  # columns


def measure(kind: str, count: int, bench: Bench) -> Outcome:
    """Return how fast a pull is beside ``count`` connections of ``kind`` on each plane."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < count + _SPARE:
        raise SkippedError(f"a process may have {most} descriptors; {count + _SPARE} are needed")
    node, pipeline = bench.node, bench.warm
    addresses = json.loads((node.root / "node.json").read_text())
    ports = [urlsplit(addresses[plane]).port for plane in ("control", "data")]

    def crowded() -> float:
        with ExitStack() as crowds:
            for port in ports:
                crowds.enter_context(serving("benchmarks.crowd", kind, port, count))
            return pull(node, pipeline)

    return speed_ratio(crowded, partial(pull, node, pipeline), bench.rounds, bench.size)


def rows(count: int) -> tuple[Row[Bench], ...]:
    """Return one row for each kind of crowd."""
    kinds = {
        "idle": "say nothing",
        "slow": "a byte every two seconds",
        "half-open": "half a head, then gone without a word",
    }
    return tuple(
        Row(
            kind,
            f"{count} connections a plane: {what}",
            at_least(0.8),
            partial(measure, kind, count),
        )
        for kind, what in kinds.items()
    )


def main() -> int:
    """Run the rows that were asked for; exit code 1 if one broke."""
    options = _options()
    count, size, rounds = (
        (_FEW, _SMALL, 1) if options.smoke else (COUNT, options.size, options.rounds)
    )
    wanted = [row for row in rows(count) if not options.only or row.name in options.only]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    with Bench(size, rounds, options.dir) as bench:
        results = harness.run(wanted, bench, console)
    console.print(harness.table(results, f"{rounds} rounds"))
    return 1 if any(result.broken for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="few: does every row run?")
    parser.add_argument("--only", action="append", choices=[row.name for row in rows(COUNT)])
    parser.add_argument("--rounds", type=int, default=5, help="times each comparison is made (5)")
    parser.add_argument("--size", type=parse_size, default=_SIZE, help="bytes of one pull")
    parser.add_argument("--dir", help="disk to work on (default: the temporary directory)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
