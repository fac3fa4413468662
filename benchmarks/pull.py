"""Print how fast a verified pull is, as ratios to what this machine can do and to other programs.

Every ratio is made of two measurements of one run, taken in turns; the median over the rounds
counts. ``--smoke`` only proves that every row runs: its sizes are too small to say anything.
"""

import argparse
import os
import platform
import sys
from pathlib import Path

from rich.console import Console

from benchmarks import cold_rows, footprint_rows, harness, rank_rows, warm_rows
from benchmarks.bench import Bench
from benchmarks.harness import Row, at_least, at_most
from cache_protocol.units import parse_size, show_size

_SIZE = 2_200_000_000  # bytes: five layers at full width
_SMOKE = 40_000_000
_PIPED = 132  # columns where there is no terminal to ask

ROWS: tuple[Row[Bench], ...] = (
    Row("floor", "warm pull / bare sendfile → recv_into", at_least(0.85), warm_rows.floor),
    Row("mapped", "the same, every page looked at", at_least(0.85), warm_rows.mapped),
    Row("disk", "pull, pages dropped / plain parallel read", at_least(0.8), warm_rows.dropped),
    Row("local", "node on this host, warm pull / over TCP", at_least(1.8), warm_rows.local),
    Row("tls", "warm pull with TLS / the same in plain text", at_least(0.4), warm_rows.tls),
    Row("tp2", "pull laid out for two ranks / plain", at_least(0.8), rank_rows.rate),
    Row("tp2-bytes", "received for two ranks / model", at_most(1.02), rank_rows.received),
    Row("tp2-memory", "a rank's memory / model", at_most(0.55), rank_rows.memory),
    Row("aria2c", "warm pull / aria2c -x8, nginx to tmpfs", at_least(1.5), warm_rows.aria2c),
    Row("snapshot", "warm pull / hub snapshot_download", at_least(3), warm_rows.snapshot),
    Row("runai", "warm pull / Run:ai Model Streamer, S3", at_least(3), warm_rows.runai),
    Row("start", "agent: exec → first range", at_most(150, "ms"), footprint_rows.start),
    Row("agent-memory", "agent: above model", at_most(64, "MB"), footprint_rows.agent_memory),
    Row("serve-memory", "node: 8 readers", at_most(64, "MB"), footprint_rows.serve_memory),
    Row("fill-memory", "node: filling twice", at_most(256, "MB"), footprint_rows.fill_memory),
    Row("cold", "cold replica / plain download, seconds", at_most(1.15), cold_rows.cold),
    Row("once", "sent by origin for ten replicas / size", at_most(1.01), cold_rows.once),
    Row("fill", "fill / the slower of origin and disk", at_least(0.8), cold_rows.fill),
)


def main() -> int:
    """Run the rows that were asked for; exit code 1 if one broke, whatever it measured."""
    options = _options()
    console = _console()
    size = options.size or (_SMOKE if options.smoke else _SIZE)
    rounds = 1 if options.smoke else options.rounds
    wanted = [row for row in ROWS if not options.only or row.name in options.only]
    with Bench(size, rounds, options.dir) as bench:
        results = harness.run(wanted, bench, console)
    about = _about(size, rounds)
    console.print()
    if options.smoke:
        console.print("A smoke run: it shows that rows run; at this size their ratios say nothing.")
    console.print(harness.table(results, " · ".join(str(v) for v in about.values())))
    if options.json:
        harness.write_json(results, about, options.json)
    return 1 if any(result.broken for result in results) else 0


def _console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_PIPED)


def _about(size: int, rounds: int) -> dict[str, object]:
    return {
        "size": show_size(size),
        "rounds": f"{rounds} rounds" if rounds > 1 else "1 round",
        "cores": f"{os.cpu_count()} cores",
        "python": f"Python {platform.python_version()}",
        "kernel": f"Linux {platform.release()}",
    }


def _options() -> argparse.Namespace:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=parse_size, help=f"bytes (default {show_size(_SIZE)})")
    parser.add_argument("--rounds", type=int, default=3, help="times each comparison is made (3)")
    parser.add_argument("--only", action="append", choices=names, help="a row; may be repeated")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: does every row run?")
    parser.add_argument("--json", type=Path, help="also write the results there")
    parser.add_argument("--dir", help="disk to work on (default: the temporary directory)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
