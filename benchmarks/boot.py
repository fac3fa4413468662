"""How much sooner the first token comes with ``boot``: a real vLLM, a link of 150 MB/s.

    python -m benchmarks.boot [--python .venv-vllm/bin/python] [--layers 11] [--rounds 1]

    boot            the pull starts with the agent, the engine beside it
    fetch, start    replica-agent pull into a directory, then the engine
    start, fetch    the engine, whose own loader downloads from the hub at the same speed

Each start is a fresh process; its time ends with the first token of a completion. Prints both
ratios, and ``weight_wait`` against its bound, max(0, pull - import) + 0.3 s. Exit code 1 when the
bound is broken or ``boot`` is not the fastest.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from benchmarks.children import ChildError
from benchmarks.hub import running_hub
from benchmarks.node import REPOSITORY, Node, clean_environment, free_port, running_node
from cache_protocol.units import show_size

RATE, LANES = 150_000_000, 4  # bytes a second in all, over so many connections
SLACK = 0.3  # seconds
_LIMIT = 300.0  # seconds for one start
_NAME = "model"


@dataclass(frozen=True, slots=True)
class Bench:
    """What every start needs."""

    python: Path  # of the venv with vLLM
    scratch: Path
    node: Node
    hub: str

    def environment(self) -> dict[str, str]:
        """Return the environment of a replica, with a cache of the hub's library of its own."""
        return clean_environment(
            REPLICA_AGENT_SERVER=self.node.control,
            REPLICA_AGENT_TOKEN=self.node.token,
            REPLICA_AGENT_STATE_DIR=str(self.scratch / "state"),
            HF_ENDPOINT=self.hub,
            HF_HOME=str(self.scratch / "hf"),
            HF_HUB_DISABLE_XET="1",
            VLLM_CPU_KVCACHE_SPACE="1",
        )

    def serve(self, model: str, port: int, *more: str) -> list[str]:
        """Return the command of an engine."""
        vllm = str(self.python.parent / "vllm")
        plain = ["--enforce-eager", "--max-model-len=128", "--dtype=bfloat16"]
        return [
            vllm,
            "serve",
            model,
            f"--port={port}",
            f"--served-model-name={_NAME}",
            *plain,
            *more,
        ]

    def agent(self, *words: str) -> list[str]:
        """Return a command of the agent."""
        return [str(self.python), "-m", "replica_agent", *words]


def with_boot(bench: Bench) -> tuple[float, dict[str, Any]]:
    """Return seconds to the first token, and the boot's own report."""
    port, report = free_port(), bench.scratch / "report.json"
    report.unlink(missing_ok=True)
    engine = bench.serve("{model}", port, "--load-format=warmline")
    command = bench.agent("boot", "--pipeline=bench", f"--report={report}", "--", *engine)
    began = time.monotonic()
    with _running(bench, command):
        seconds = _first_token(port) - began
        while not report.exists():
            time.sleep(0.05)
    fields: dict[str, Any] = json.loads(report.read_text())
    if fields["source"] != "cache":
        raise ChildError(f"the boot went another way: {fields.get('reason')}")
    return seconds, fields


def with_fetch_first(bench: Bench) -> float:
    """Return seconds to the first token of an engine that starts after the pull."""
    port, to = free_port(), bench.scratch / "pulled"
    began = time.monotonic()
    pull = bench.agent("pull", "--pipeline=bench", f"--to={to}")
    subprocess.run(pull, env=bench.environment(), cwd=REPOSITORY, check=True, stdout=-3)
    with _running(bench, bench.serve(str(to / "llm"), port)):
        seconds = _first_token(port) - began
    shutil.rmtree(to)
    return seconds


def with_own_loader(bench: Bench) -> float:
    """Return seconds to the first token of an engine that downloads when it loads."""
    port = free_port()
    began = time.monotonic()
    with _running(bench, bench.serve("bench/llm", port)):
        seconds = _first_token(port) - began
    shutil.rmtree(bench.scratch / "hf")
    return seconds


@contextmanager
def _running(bench: Bench, command: Sequence[str]) -> Iterator[None]:
    log = bench.scratch / "engine.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=bench.environment(), cwd=REPOSITORY, stdout=out, stderr=out
        )
    try:
        yield
    except ChildError as error:
        raise ChildError(f"{error}\n{log.read_text(errors='replace')[-3000:]}") from error
    finally:
        process.terminate()
        process.wait(60)


def _first_token(port: int) -> float:
    """Wait for the first token of a completion; return when it came."""
    deadline = time.monotonic() + _LIMIT
    words = {"model": _NAME, "prompt": "w1 w2", "max_tokens": 1, "stream": True}
    while time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            body = json.dumps(words)
            connection.request(
                "POST", "/v1/completions", body, {"Content-Type": "application/json"}
            )
            answer = connection.getresponse()
            if answer.status == 200 and answer.readline().startswith(b"data:"):
                return time.monotonic()
        except OSError:
            time.sleep(0.05)  # it does not listen yet
        finally:
            connection.close()
    raise ChildError("no token came")


def _bound(report: dict[str, Any]) -> float:
    seconds = {p["name"]: p["seconds"] for p in report["phases"]}
    return max(0.0, float(seconds["pull"] - seconds["engine-import"])) + SLACK


def _measure(bench: Bench, rounds: int) -> bool:
    bench.node.put("bench", {"llm": f"file://{bench.scratch / 'model'}"})
    bench.node.warm("bench")
    _warm_page_cache(bench)
    booted: list[float] = []
    fetched: list[float] = []
    own: list[float] = []
    reports: list[dict[str, Any]] = []
    starts = (
        lambda: _note(with_boot(bench), booted, reports),
        lambda: fetched.append(with_fetch_first(bench)),
        lambda: own.append(with_own_loader(bench)),
    )
    for number in range(rounds):
        # In another order each time: a machine that others use as well changes while we measure.
        for turn in range(len(starts)):
            starts[(number + turn) % len(starts)]()
        print(
            f"round {number + 1}: boot {booted[-1]:.1f} s, fetch first {fetched[-1]:.1f} s, "
            f"own loader {own[-1]:.1f} s",
            flush=True,
        )
    return _show(booted, fetched, own, reports)


def _note(
    result: tuple[float, dict[str, Any]], seconds: list[float], reports: list[dict[str, Any]]
) -> None:
    seconds.append(result[0])
    reports.append(result[1])


def _warm_page_cache(bench: Bench) -> None:
    """Import what an engine imports: the first start would read gigabytes of libraries."""
    words = [str(bench.python), "-c", "import vllm.entrypoints.openai.api_server"]
    subprocess.run(words, check=True, stdout=-3, stderr=-3)


def _show(
    booted: list[float], fetched: list[float], own: list[float], reports: list[dict[str, Any]]
) -> bool:
    to_fetch = statistics.median(b / f for b, f in zip(booted, fetched, strict=True))
    to_own = statistics.median(b / o for b, o in zip(booted, own, strict=True))
    kept = all(r["weight_wait"] <= _bound(r) for r in reports)
    print(f"{show_size(reports[0]['bytes'])} over a link of {show_size(RATE)}/s")
    print(f"time to first token: boot / (fetch, then start)        {to_fetch:.2f}")
    print(f"time to first token: boot / (start, loader fetches)    {to_own:.2f}")
    for report in reports:
        print(f"weight_wait {report['weight_wait']:.3f} s, at most {_bound(report):.3f} s")
        print("  " + ", ".join(f"{p['name']} {p['seconds']:.2f}" for p in report["phases"]))
    return kept and to_fetch < 1 and to_own < 1


def main() -> int:
    """Run the benchmark; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", type=Path, default=REPOSITORY / ".venv-vllm/bin/python")
    parser.add_argument("--layers", type=int, default=11, help="122 MB each [%(default)s]")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    if not options.python.exists():
        parser.error(f"there is no {options.python}: run scripts/install-vllm")
    with tempfile.TemporaryDirectory(prefix="warmline-boot-") as directory:
        scratch = Path(directory)
        command = [options.python, "-m", "benchmarks.boot_model", scratch / "model", options.layers]
        subprocess.run(list(map(str, command)), cwd=REPOSITORY, check=True, stdout=-3, stderr=-3)
        program = ("benchmarks.paced", str(RATE // LANES))
        models = {"llm": scratch / "model"}
        with (
            running_node(scratch / "node", program=program) as node,
            running_hub(scratch / "hub", models, f"{RATE}") as hub,
        ):
            bench = Bench(options.python.absolute(), scratch, node, hub.url)
            return 0 if _measure(bench, options.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
