"""Print how fast weights come into a GPU's memory, as ratios to what the machine can do.

    python -m benchmarks.device                  with a GPU: eight minutes, then rows are skipped
    python -m benchmarks.device --smoke          on the fake driver: only proves that rows run

It needs a GPU, its driver, cuda-bindings, torch, safetensors, numpy, rich and xxhash, and nothing
else: the node is that of ``bare_node``. Without a GPU it says so and does no harm.
"""

import argparse
import os
import platform
import sys
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import device_rows, harness
from benchmarks.device_rows import OnDevice
from benchmarks.harness import Row, at_least, at_most
from cache_protocol.units import parse_size, show_size
from replica_agent.arenas.cuda.bindings import load_driver
from replica_agent.arenas.cuda.driver import DriverError

_SIZE = 8_000_000_000  # bytes
_SMOKE = 40_000_000
_PIPED = 132  # columns where there is no terminal to ask
_MOST_LANES = 8

ROWS: tuple[Row[OnDevice], ...] = (
    Row("identical", "tensors that differ", at_most(0, ""), device_rows.identical),
    Row(
        "bound",
        "load / the slower of pinned copies and cached reads",
        at_least(0.9),
        device_rows.bound,
    ),
    Row("network", "load from files of this host / over TCP", at_least(1), device_rows.network),
    Row(
        "safetensors",
        "load / safetensors.torch.load_file",
        at_least(1),
        partial(device_rows.peer, "safetensors"),
    ),
    Row(
        "fastsafetensors",
        "load / fastsafetensors",
        at_least(1),
        partial(device_rows.peer, "fastsafetensors"),
    ),
    Row("runai", "load / Run:ai Model Streamer", at_least(1), partial(device_rows.peer, "runai")),
    Row("shard", "load into one rank's parameters / as files", at_least(0.9), device_rows.one_rank),
    Row("shards", "load for two ranks / for one", at_least(0.9), device_rows.two_ranks),
    Row("shard-size", "memory of one of two ranks / model", at_most(0.55), device_rows.shard_size),
    Row("adopted", "parameters that differ in an engine", at_most(0, ""), device_rows.adopted),
    Row("adoption", "an engine has its weights in", at_most(100, "ms"), device_rows.adoption),
    Row(
        "pinned", "an engine's copies, pinned on their way / plain", at_least(1), device_rows.pinned
    ),
    Row("device-memory", "device memory / model", at_most(1.02), device_rows.device_memory),
    Row("host-memory", "host memory of a load", at_most(400, "MB"), device_rows.host_memory),
)


def main() -> int:
    """Run the rows that were asked for; exit code 1 if one broke, whatever it measured."""
    options = _options()
    console = _console()
    device = _device()
    if device is None and not options.smoke:
        console.print("no GPU can be used here, so nothing was measured; --smoke runs the fake one")
        return 0
    driver = "fake" if device is None else "cuda"
    size = options.size or (_SMOKE if options.smoke else _SIZE)
    rounds = 1 if options.smoke else options.rounds
    wanted = [row for row in ROWS if not options.only or row.name in options.only]
    with OnDevice(size, rounds, options.lanes, driver, options.dir) as run:
        results = harness.run(wanted, run, console)
        loads = run.loads
    about = _about(size, rounds, options.lanes, device)
    console.print()
    if options.smoke:
        console.print("A smoke run: it shows that rows run; at this size their ratios say nothing.")
    console.print(harness.table(results, " · ".join(str(v) for v in about.values())))
    if loads:
        console.print(_steps(loads))
    if options.json:
        harness.write_json(results, {**about, "loads": loads}, options.json)
    return 1 if any(result.broken for result in results) else 0


def _device() -> str | None:
    try:
        return str(load_driver().open(0).info)
    except DriverError as error:
        print(f"cuda:0: {error}", file=sys.stderr)
        return None


def _steps(loads: list[device_rows.Load]) -> Table:
    """Return where the time of the fastest load went, from exec on."""
    best = min(loads, key=lambda load: float(load["since_exec"]))
    made = Table(title="exec until the whole model is there", title_justify="left")
    for name in (*best["steps"], "in all"):
        made.add_column(name, justify="right")
    seconds = [*best["steps"].values(), best["since_exec"]]
    made.add_row(*(f"{value:.3f} s" for value in seconds))
    return made


def _console() -> Console:
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_PIPED)


def _about(size: int, rounds: int, lanes: int, device: str | None) -> dict[str, object]:
    return {
        "device": device or "the fake driver: not a device",
        "size": show_size(size),
        "rounds": f"{rounds} rounds" if rounds > 1 else "1 round",
        "lanes": f"{lanes} lanes",
        "cores": f"{os.cpu_count()} cores",
        "python": f"Python {platform.python_version()}",
        "kernel": f"Linux {platform.release()}",
    }


def _options() -> argparse.Namespace:
    names = [row.name for row in ROWS]
    lanes = min(os.cpu_count() or 1, _MOST_LANES)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=parse_size, help=f"bytes (default {show_size(_SIZE)})")
    parser.add_argument("--rounds", type=int, default=3, help="times each comparison is made (3)")
    parser.add_argument("--lanes", type=int, default=lanes, help=f"threads that load ({lanes})")
    parser.add_argument("--only", action="append", choices=names, help="a row; may be repeated")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, any driver")
    parser.add_argument("--json", type=Path, help="also write the results there")
    parser.add_argument("--dir", help="where the files are (default: the temporary directory)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
