"""Print what it costs to read through the doors for Hugging Face and S3 instead of past the node.

    python -m benchmarks.doors                 1 GiB, about two minutes
    python -m benchmarks.doors --only hub      one row; may be repeated
    python -m benchmarks.doors --smoke         tiny: does every row run?

Clients are unmodified, each with its own native credential, and the node has auth on. With and
without the node take turns, and the median over the rounds counts.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import harness, hub_rows, s3_rows
from benchmarks.bench import Bench
from benchmarks.harness import Row, at_least, at_most
from cache_protocol.units import parse_size, show_size

_SIZE = 2**30  # bytes of weights
_SMOKE = 40_000_000
_WIDTH = 132  # columns

ROWS: tuple[Row[Bench], ...] = (
    Row("hub", "snapshot_download of 13 files: warm node / hub", at_most(1.2), hub_rows.snapshot),
    Row("hub-asked", "asked of the hub meanwhile", at_most(0, "requests"), hub_rows.silence),
    Row("s3-runai", "Run:ai streamer: S3 door / nginx", at_least(0.9), s3_rows.runai),
    Row("s3-boto3", "boto3 download_file: S3 door / nginx", at_least(0.8), s3_rows.boto3),
)


def main() -> int:
    """Run the rows that were asked for; exit code 1 if one broke, whatever it measured."""
    options = _options()
    size = options.size or (_SMOKE if options.smoke else _SIZE)
    rounds = 1 if options.smoke else options.rounds
    wanted = [row for row in ROWS if not options.only or row.name in options.only]
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    with Bench(size, rounds, options.dir) as bench:
        results = harness.run(wanted, bench, console)
    console.print(harness.table(results, f"{show_size(size)}, {rounds} rounds"))
    if options.json:
        about: dict[str, object] = {"size": show_size(size), "rounds": rounds}
        harness.write_json(results, about, options.json)
    return 1 if any(result.broken for result in results) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="tiny: does every row run?")
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS])
    parser.add_argument("--rounds", type=int, default=3, help="times each comparison is made (3)")
    parser.add_argument("--size", type=parse_size, help=f"bytes (default {show_size(_SIZE)})")
    parser.add_argument("--dir", help="disk to work on (default: the temporary directory)")
    parser.add_argument("--json", type=Path, help="write the results for programs, too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
