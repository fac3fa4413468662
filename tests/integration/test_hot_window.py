"""The 48 h window with a real node: after a restart, and with a wall clock that jumps under it."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.node import Node, running_node
from tests.integration.content import chunks, write
from tests.integration.programs import answer, cache_of

LIBRARIES = "/usr/lib/*/faketime/libfaketime.so.1"
CAPACITY = "20MB"  # for one of the pipelines below


@pytest.fixture
def faketime() -> str:
    found = sorted(Path("/").glob(LIBRARIES[1:]))
    if not found or shutil.which("faketime") is None:
        reason = "faketime is not installed: apt-get install faketime"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return str(found[0])


@contextmanager
def node_at(root: Path, library: str, offset: str | Path) -> Iterator[Node]:
    """Run a node whose wall clock is ``offset`` off; one in a file can change while it runs.

    The library reads that file anew at every look at the clock, and not safely for threads: now
    and then one of them sees the true time. An offset that stays needs no file.
    """
    of_a_file = {"FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    env = {
        "LD_PRELOAD": library,
        **(of_a_file if isinstance(offset, Path) else {"FAKETIME": offset}),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",  # also leaves the boot clock alone
        "DONT_FAKE_MONOTONIC": "1",
    }
    with running_node(root, "--capacity", CAPACITY, env=env) as node:
        yield node


def registered(node: Node, scratch: Path, *names: str) -> None:
    for seed, name in enumerate(names):
        write(scratch / name, {"a.dat": chunks(2, seed=seed)})
        node.put(name, {"m": f"file://{scratch}/{name}"})


def warm_status(node: Node, pipeline: str) -> int:
    """Return the status of a warm that knows the size already."""
    deadline = time.monotonic() + 30
    while cache_of(node, pipeline)["size"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return answer(node, "POST", f"/v1/pipelines/{pipeline}/warm", {})[0]


@pytest.mark.parametrize(("later", "status"), [("+47h", 507), ("+49h", 202)])
def test_a_slot_may_go_48_hours_after_its_last_request_and_not_before(
    scratch: Path, faketime: str, later: str, status: int
) -> None:
    with node_at(scratch / "node", faketime, "+0") as node:
        registered(node, scratch, "old", "new")
        node.warm("old")
        node.call("POST", "/v1/pipelines/old/touch")
    with node_at(scratch / "node", faketime, later) as node:
        assert cache_of(node, "old")["hot"] == (status == 507)
        assert warm_status(node, "new") == status


@pytest.mark.parametrize("jump", ["+2h", "-2h", "+730d", "-730d"])
def test_a_wall_clock_that_jumps_under_a_running_node_evicts_nothing_hot(
    scratch: Path, faketime: str, jump: str
) -> None:
    clock = scratch / "offset"
    clock.write_text("+0")
    with node_at(scratch / "node", faketime, clock) as node:
        registered(node, scratch, "old", "new")
        node.warm("old")
        node.call("POST", "/v1/pipelines/old/touch")
        clock.write_text(jump)
        assert warm_status(node, "new") == 507
        assert cache_of(node, "old")["warm"]
        assert cache_of(node, "old")["hot"]
