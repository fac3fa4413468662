"""kill -9 at named points, in random order, over and over on one ROOT; and what must hold after.

One round: harm something, start the node armed for one point, do things at random until it dies,
start it again, let it settle, check every promise. The seed decides everything but the threads.
One of the pipelines comes from a hub that fails to order, the others from a directory.

Run by hand: ``scripts/faults --seed N --rounds M``.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

from benchmarks.node import Node, NodeError, running_node
from cache_protocol.digests import CHUNK_SIZE, chunk_count, chunk_digest
from cache_server.core.ledger import room
from cache_server.crash_points import POINTS
from tests.fakes.hub import Fault, Hub
from tests.integration.content import chunks, write
from tests.integration.programs import answer, exit_code, kill

NAMES = ("voice", "chat", "vision")
FROM_HUB = "vision"
VERSIONS = 3  # of each pipeline's content at its origin
ALL_HARMS = ("flip", "cut", "delete")
HARMS = {
    "repair.chunk-written": ("flip",),
    "damage.declared": ("cut", "delete"),
}  # what leads there
ACTS = 12  # in one round, if the node lives that long
LISTEN_LIMIT = 20.0  # seconds; a bound for a broken node on a busy machine, not a measurement
LIMIT = 40.0  # seconds; only a broken node needs them


class Rounds:
    """A ROOT, its origins, and the randomness of one run."""

    def __init__(self, scratch: Path, seed: int, hub: Hub) -> None:
        self._hub = hub
        self._root = scratch / "root"
        self._origins = scratch / "origins"
        self._random = random.Random(seed)
        self.reached: set[str] = set()  # points at which a node has died
        for name in NAMES:
            self._publish(name, 0)

    def run(self, rounds: int, *, say: Any = lambda _: None) -> None:
        """Do that many rounds; AssertionError at the first promise that does not hold."""
        points = sorted(POINTS)
        order: list[str] = []
        for n in range(rounds):
            if not order:  # every point once before any comes twice
                order = self._random.sample(points, len(points))
            point, nth = order.pop(), self._random.choice((1, 1, 2, 3))
            if point in HARMS:
                nth = 1
            how = self._random.choice((self._harm, self._disturb, lambda: "no harm"))
            harm = how()
            died = self._until_it_dies(point, nth)
            if died:
                self.reached.add(point)
            seconds = self._check()
            say(
                f"{n + 1}: {harm}; {point}:{nth} {'died' if died else 'not reached'}; "
                f"listening after {seconds:.1f} s"
            )

    # Origins and harm.

    def _publish(self, name: str, version: int) -> None:
        shutil.rmtree(self._origins / name, ignore_errors=True)
        write(self._origins / name, _content(name, version))
        self._hub.commit(f"org/{name}", _content(name, version))

    def _disturb(self) -> str:
        """Have the hub fail once, at the next bytes that somebody asks it for."""
        path, after = self._random.choice(("a.dat", "b.dat")), self._random.randrange(100_000)
        fault = self._random.choice(
            (
                Fault(path, status=503, headers={"Retry-After": "0"}),
                Fault(path, status=429, headers={"Retry-After": "0"}),
                Fault(path, at="cdn", status=403),  # a signed URL that has run out
                Fault(path, at="cdn", after=after, truncate=True),
                Fault(path, at="cdn", after=after, reset=True),
                Fault(path, at="cdn", wrong_chunk=0),
            )
        )
        self._hub.order(fault)
        return f"the hub fails at {path}"

    def _harm(self, *hows: str) -> str:
        files = sorted(self._root.glob("slots/*/*/*/files/m/*.dat"))
        files = [f for f in files if f.stat().st_size]
        if not files:
            return "no harm"
        file, how = self._random.choice(files), self._random.choice(hows or ALL_HARMS)
        if how == "delete":
            file.unlink()
        elif how == "cut":
            os.truncate(file, self._random.randrange(file.stat().st_size))
        else:
            with file.open("r+b", buffering=0) as opened:
                opened.seek(at := self._random.randrange(file.stat().st_size))
                byte = opened.read(1)[0]
                os.pwrite(opened.fileno(), bytes([byte ^ 1]), at)
        return f"{how} {file.name} of {file.parts[-5]}"

    # A node that dies.

    def _until_it_dies(self, point: str, nth: int) -> bool:
        env = {"WARMLINE_CRASH_AT": f"{point}:{nth}", "HF_ENDPOINT": self._hub.endpoint}
        try:
            with running_node(self._root, env=env) as node:
                try:
                    if point in HARMS:
                        self._harm_and_look(node, HARMS[point])
                    for _ in range(ACTS):
                        self._act(node)
                except (OSError, HTTPException):
                    exit_code(node)
                    return True  # it died while it was asked something
                kill(node.pid)
        except NodeError:
            return True  # it died at its start, of what it found
        return False

    def _harm_and_look(self, node: Node, hows: tuple[str, ...]) -> None:
        for name in NAMES:
            self._register(node, name)
            answer(node, "POST", f"/v1/pipelines/{name}/warm", {})
        self._settle(node)
        self._harm(*hows)
        answer(node, "POST", "/v1/scrub", {})
        until(lambda: not _status(node)["scrub"]["running"])

    def _act(self, node: Node) -> None:
        name = self._random.choice(NAMES)
        path = f"/v1/pipelines/{name}"
        match self._random.randrange(8):
            case 0:
                self._publish(name, self._random.randrange(VERSIONS))
                answer(node, "POST", f"{path}/warm", {"refresh": True})
            case 1:
                answer(node, "DELETE", f"{path}?force=true")
            case 2:
                self._harm()
                answer(node, "POST", "/v1/scrub", {})
            case 3:
                answer(node, "POST", f"{path}/evict", {"force": True})
            case 4:
                self._disturb()
            case _:
                self._register(node, name)
                answer(node, "POST", f"{path}/warm", {})
                if self._random.random() < 0.6:
                    self._settle(node)

    def _register(self, node: Node, name: str) -> None:
        source = f"hf://org/{name}" if name == FROM_HUB else f"file://{self._origins / name}"
        answer(node, "PUT", f"/v1/pipelines/{name}", {"models": [{"name": "m", "source": source}]})

    def _settle(self, node: Node) -> None:
        until(lambda: _status(node)["fills"] == 0)

    # What must hold.

    def _check(self) -> float:
        """Return the seconds until the node listened."""
        began = time.monotonic()
        with running_node(self._root, env={"HF_ENDPOINT": self._hub.endpoint}) as node:
            seconds = time.monotonic() - began
            assert seconds < LISTEN_LIMIT
            until(lambda: _status(node)["reconciled"])
            self._settle(node)
            answer(node, "POST", "/v1/scrub", {})
            until(lambda: not _status(node)["scrub"]["running"])
            self._settle(node)
            # What was replaced goes with the next round of housekeeping.
            until(lambda: not self._left_over(node), what=lambda: self._left_over(node))
            self._check_slots(node)
        return seconds

    def _left_over(self, node: Node) -> list[str]:
        views = node.call("GET", "/v1/pipelines")["pipelines"]
        known = {(v["id"], v["cache"]["generation"]) for v in views}
        slots = self._root.glob("slots/*/*/*")
        unknown = [d for d in slots if (d.parent.name, d.name) not in known]
        return [str(d) for d in (*unknown, *(self._root / "trash").iterdir())]

    def _check_slots(self, node: Node) -> None:
        views = {v["id"]: v["cache"] for v in node.call("GET", "/v1/pipelines")["pipelines"]}
        booked = 0
        for directory in sorted(self._root.glob("slots/*/*/*")):
            name = directory.parent.name
            if (directory / "digests").exists():
                booked += _room(directory)
            if views[name]["warm"]:
                _check_whole(directory, name)
        assert _status(node)["used"] == booked, "the ledger is not what lies on disk"


def until(true: Callable[[], bool], what: Callable[[], object] = lambda: "it") -> None:
    """Wait until ``true``; an AssertionError that shows ``what`` after LIMIT."""
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


def _status(node: Node) -> dict[str, Any]:
    status: dict[str, Any] = node.call("GET", "/v1/status")
    return status


def _content(name: str, version: int) -> dict[str, bytes]:
    seed = NAMES.index(name) * VERSIONS + version + 1
    return {
        "config.json": json.dumps({"seed": seed}).encode(),
        "a.dat": chunks(1, seed=seed, more=4321),
        "b.dat": chunks(0, seed=seed + 100, more=99_999),
    }


def _files(directory: Path) -> list[dict[str, Any]]:
    (model,) = json.loads((directory / "content.json").read_bytes())["content"]["models"]
    files: list[dict[str, Any]] = model["files"]
    return files


def _room(directory: Path) -> int:
    return room([file["size"] for file in _files(directory)])


def _check_whole(directory: Path, name: str) -> None:
    """Check that every byte is one of the origin's, of one version, and that its digests are."""
    stored = {
        f["path"]: (directory / "files/m" / f["path"]).read_bytes() for f in _files(directory)
    }
    assert stored in [_content(name, version) for version in range(VERSIONS)], f"{name} is mixed"
    published = json.loads((directory / "generation.json").read_bytes())["files"]
    for index, (file, confirmed) in enumerate(zip(_files(directory), published, strict=True)):
        data = stored[file["path"]]
        assert hashlib.sha256(data).hexdigest() == confirmed["sha256"]
        table = (directory / "digests" / str(index)).read_bytes()
        for chunk in range(chunk_count(len(data))):
            part = data[chunk * CHUNK_SIZE : (chunk + 1) * CHUNK_SIZE]
            assert table[chunk * 16 : chunk * 16 + 16] == chunk_digest(part)


def main() -> None:
    """Run rounds until one fails or all are done; the seed is printed first."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--rounds", type=int, default=100)
    args = parser.parse_args()
    print(f"seed {args.seed}: scripts/faults --seed {args.seed} --rounds {args.rounds}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="warmline-faults-") as scratch,
        Hub(Path(scratch) / "hub") as hub,
    ):
        rounds = Rounds(Path(scratch), args.seed, hub)
        rounds.run(args.rounds, say=lambda line: print(line, flush=True))
    print(f"all held; died at {len(rounds.reached)} of {len(POINTS)} points")


if __name__ == "__main__":
    main()
