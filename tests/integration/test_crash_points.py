"""kill -9 at every named point, then a restart: only missing chunks are pulled, nothing is lost."""

import hashlib
import subprocess
import sys
import time
from http.client import HTTPException
from pathlib import Path

import pytest

from benchmarks.node import clean_environment, running_node
from cache_protocol.digests import ABSENT, CHUNK_SIZE, chunk_digest
from cache_server.crash_points import POINTS
from tests.fakes.service import chunks

LIMIT = 20.0  # seconds; a start takes about two
FILES = {"config.json": b"{}", "a.dat": chunks(1.5, seed=1), "sub/b.dat": chunks(1.2, seed=2)}
TOTAL = sum(map(len, FILES.values()))
# In the middle of the fill, where a point is passed once per chunk or file.
NTH = {
    "fill.laying-out": 3,
    "fill.chunk-written": 3,
    "fill.chunk-recorded": 3,
    "fill.file-confirmed": 2,
}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("source")
    for name, data in FILES.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


def run_until_it_dies(root: Path, source: Path, point: str) -> None:
    """Fill a pipeline, and remove it again where the point is passed at removal."""
    crash_at = f"{point}:{NTH.get(point, 1)}"
    with running_node(root, env={"WARMLINE_CRASH_AT": crash_at}) as node:
        try:
            node.put("voice", {"m": f"file://{source}"})
            node.warm("voice", limit=LIMIT)
            node.call("DELETE", "/v1/pipelines/voice")
        except (OSError, HTTPException):
            pass  # it died while it was asked something
        wait_until(lambda: is_dead(node.pid))


def wait_until(true) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_dead(pid: int) -> bool:
    """Whether the process has ended; nobody has waited for it yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def generation_of(root: Path) -> Path:
    (generation,) = root.glob("slots/default/voice/*")
    return generation


def present_bytes(generation: Path) -> int:
    """Return how many bytes the tables on disk vouch for; every one of them must be right."""
    present = 0
    for name in FILES:
        data = (generation / "files" / "m" / name).read_bytes()
        table = table_of(generation, name)
        for at in range(0, len(table), 16):
            chunk = data[at // 16 * CHUNK_SIZE : (at // 16 + 1) * CHUNK_SIZE]
            if table[at : at + 16] != ABSENT:
                assert table[at : at + 16] == chunk_digest(chunk)
                present += len(chunk)
    return present


def table_of(generation: Path, name: str) -> bytes:
    return (generation / "digests" / str(sorted(FILES).index(name))).read_bytes()


@pytest.mark.parametrize("point", sorted(p for p in POINTS if p.startswith(("fill.", "publish."))))
def test_a_fill_that_was_killed_goes_on_by_itself_with_what_is_missing(tmp_path, source, point):
    root = tmp_path / "root"
    run_until_it_dies(root, source, point)
    kept = present_bytes(generation_of(root))
    with running_node(root) as node:
        wait_until(lambda: node.call("GET", "/v1/pipelines/voice")["cache"]["warm"])
        status = node.call("GET", "/v1/status")
        generation = generation_of(root)
        for name, data in FILES.items():
            stored = (generation / "files" / "m" / name).read_bytes()
            assert hashlib.sha256(stored).digest() == hashlib.sha256(data).digest()
        assert present_bytes(generation) == TOTAL
        assert status["origin_bytes"] == TOTAL - kept
        assert list((root / "trash").iterdir()) == []
        assert status["used"] >= TOTAL
        node.call("DELETE", "/v1/pipelines/voice")
        assert node.call("GET", "/v1/status")["used"] == 0


def test_a_removal_that_was_killed_is_over_after_the_restart(tmp_path, source):
    root = tmp_path / "root"
    run_until_it_dies(root, source, "remove.begun")
    assert list((root / "trash").iterdir()) != []
    with running_node(root) as node:
        wait_until(lambda: node.call("GET", "/v1/status")["reconciled"])
        assert node.call("GET", "/v1/pipelines") == {"pipelines": []}
        assert node.call("GET", "/v1/status")["used"] == 0
        assert list((root / "trash").iterdir()) == []
        assert not list(root.glob("slots/*/*"))


def test_a_second_node_on_one_root_is_refused_with_a_reason(tmp_path):
    with running_node(tmp_path / "root") as node:
        command = [sys.executable, "-m", "cache_server", "serve", "--root", str(node.root)]
        second = subprocess.run(
            [*command, "--port", "0", "--data-port", "0"],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert second.returncode == 8
    assert f"another running node (process {node.pid})" in second.stderr
