"""A replica boots while the node's disk is sick: what is not kept passes through."""

import json
from pathlib import Path

import pytest

from benchmarks.node import running_node
from tests.fakes.faulty_disk import faulty_disk
from tests.integration.content import chunks, tree, write
from tests.integration.programs import answer, pull, until

pytestmark = pytest.mark.timeout(180)
FILES = {"a.dat": chunks(2, more=77), "b.json": b"{}"}


def test_a_pipeline_that_is_not_kept_is_passed_through_while_the_disk_fails(scratch: Path) -> None:
    write(scratch / "in", FILES)
    with faulty_disk(scratch) as disk, running_node(disk.path / "node") as node:
        node.put("late", {"m": f"file://{scratch}/in"})
        until(lambda: answer(node, "GET", "/readyz")[0] == 200)
        with disk.failing():
            until(lambda: answer(node, "GET", "/readyz")[0] == 503)
            report = scratch / "report.json"
            done = pull(node, "late", scratch / "out", "--report", report)
            assert done.returncode == 0, done.stderr
        until(lambda: answer(node, "GET", "/readyz")[0] == 200)
        node.warm("late")
    said = json.loads(report.read_text())
    assert (said["source"], said["ok"]) == ("pass-through", True)
    assert said["reason"].startswith("disk-sick: ")
    assert tree(scratch / "out" / "m") == FILES
