"""What a node of many pipelines costs: a plan, touches, a start, and manifests while it fills.

python -m benchmarks.policy            100 000 slots, about a minute
python -m benchmarks.policy --smoke    few: does every row run?
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import create_engine, insert

from benchmarks.hub import running_hub
from benchmarks.node import Node, running_node
from cache_server.catalogue.registry import Key, Registry
from cache_server.catalogue.tables import pipelines, requests
from cache_server.core.eviction import SlotUse, plan_eviction
from cache_server.service.clocks import system_clocks
from cache_server.service.housekeeping import EVERY
from cache_server.service.library import Library
from cache_server.service.requests import BATCH, Requests
from cache_server.service.slot import Slot

WINDOW = timedelta(hours=48)
SIZE = 10**9  # bytes of one slot
RATE = 200_000_000  # bytes a second that the hub sends to both fills


def main() -> int:
    """Run all rows; exit code 1 if a bound is missed in a full run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="few slots: does every row run?")
    smoke = parser.parse_args().smoke
    slots, seconds = (1000, 1.0) if smoke else (100_000, 10.0)
    with tempfile.TemporaryDirectory(prefix="warmline-policy-") as scratch:
        root = Path(scratch)
        rows = [
            _row("plan", _plan(slots), 50, "ms"),
            _row("touches", _touches(root / "touches", slots), 5, "% of a core"),
            _row("start", _start(root / "start", slots), 1000, "ms"),
            _row("manifest p99", _manifests(root / "manifests", seconds), 10, "ms"),
        ]
    return 0 if smoke or all(rows) else 1


def _row(name: str, value: float, bound: float, unit: str) -> bool:
    met = value <= bound
    print(
        f"{name:14} {value:8.2f} {unit}, at most {bound}: {'met' if met else 'MISSED'}", flush=True
    )
    return met


def _plan(slots: int) -> float:
    """Return the milliseconds of a plan that takes one in a hundred slots; median of nine."""
    dice = random.Random(1)
    table = [
        SlotUse(("default", f"p{n:06}"), SIZE, dice.random() * 1e6, leases=dice.random() < 0.1)
        for n in range(slots)
    ]

    def plan() -> None:
        made = plan_eviction(table, need=SIZE * slots // 100, now=2e6, hot_window=WINDOW)
        assert len(made.victims) == max(1, slots // 100)

    return statistics.median(_milliseconds(plan) for _ in range(9))


def _milliseconds(run: Callable[[], None]) -> float:
    begun = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - begun)


def _touches(root: Path, slots: int) -> float:
    """Return the share of a core, in percent, of 10 000 touches and their part of a round."""
    _register(root, slots)
    registry, clocks = Registry(f"sqlite:///{root}/catalogue.db"), system_clocks()
    table = {key: Slot(r) for key, r in registry.all().items()}
    stamps = Requests(registry, Library(clocks.moment), table, clocks)
    lock, dice = threading.RLock(), random.Random(1)
    asked = [table[Key("default", f"p{dice.randrange(slots):06}")] for _ in range(10_000)]
    begun = time.process_time()
    for slot in asked:
        with lock:
            stamps.touch(slot)
    touching = time.process_time() - begun
    begun = time.process_time()
    stamps.write(stamps.take(BATCH))
    writing = (time.process_time() - begun) / EVERY
    registry.close()
    return 100 * (touching + writing)


def _start(root: Path, slots: int) -> float:
    """Return the milliseconds from exec until the node answers; median of three."""
    _register(root, slots)
    return statistics.median(_started(root) for _ in range(3))


def _started(root: Path) -> float:
    begun = time.perf_counter()
    with running_node(root) as node:
        connection = HTTPConnection(urlsplit(node.control).netloc, timeout=30)
        connection.request("GET", "/healthz")
        assert connection.getresponse().status == 200
        took = 1000 * (time.perf_counter() - begun)
        connection.close()
    return took


def _register(root: Path, slots: int) -> None:
    root.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{root}/catalogue.db"
    Registry(url).close()
    now = datetime.now(UTC)
    fields = [{"name": "m", "source": "file:///nowhere", "revision": None}]
    models = json.dumps([{**f, "include": [], "exclude": [], "credentials": None} for f in fields])
    names = [{"tenant": "default", "id": f"p{n:06}"} for n in range(slots)]
    stamp = now.isoformat()
    row = {"models": models, "pinned": False, "created": stamp, "updated": stamp}
    old = (now - timedelta(days=3)).isoformat()  # not hot: nothing is filled at the start
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(insert(pipelines), [n | row for n in names])
        connection.execute(insert(requests), [n | {"last": old} for n in names])
    engine.dispose()


def _manifests(root: Path, seconds: float) -> float:
    """Return the p99 in milliseconds of a warm manifest, 200 a second, while two fills run.

    They come from a hub of 200 MB/s, twice what a CDN gives most nodes. From a disk as fast as
    memory two fills take every processor there is, and the row would measure those.
    """
    weights = root / "weights"
    weights.mkdir(parents=True)
    (weights / "w.dat").write_bytes(random.Random(1).randbytes(1_000_000))
    large = {f"large-{n}": root / f"large-{n}" for n in range(2)}
    for directory in large.values():
        directory.mkdir()
        with (directory / "w.dat").open("wb") as file:
            file.truncate(int(RATE / 2 * (seconds + 5)))  # a hole: the hub's disk costs nothing
    with (
        running_hub(root / "hub", large, f"{RATE // 10**6}MB") as hub,
        running_node(root / "node", env={"HF_ENDPOINT": hub.url}) as node,
    ):
        node.put("warm", {"m": f"file://{weights}"})
        node.warm("warm")
        for name in large:
            node.put(name, {"m": hub.source(name)})
            node.call("POST", f"/v1/pipelines/{name}/warm", {})
        while not all(_cache(node, name)["filled"] for name in large):
            time.sleep(0.01)
        took = _paced(node, seconds)
        assert all(_cache(node, name)["state"] == "filling" for name in large)
    return statistics.quantiles(took, n=100)[98]


def _cache(node: Node, pipeline: str) -> dict[str, Any]:
    cache: dict[str, Any] = node.call("GET", f"/v1/pipelines/{pipeline}")["cache"]
    return cache


def _paced(node: Node, seconds: float) -> list[float]:
    connection = HTTPConnection(urlsplit(node.control).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {node.token}"}
    took: list[float] = []
    begun = time.perf_counter()
    for n in range(int(200 * seconds)):
        # Measured from when it was due: one slow answer delays those behind it, and counts.
        due = begun + n / 200
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.request("GET", "/v1/pipelines/warm/manifest", headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        took.append(1000 * (time.perf_counter() - due))
    connection.close()
    return took


if __name__ == "__main__":
    sys.exit(main())
