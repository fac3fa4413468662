"""A replica that pulls while more connections than the node keeps sit on both of its ports."""

import json
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.children import serving
from benchmarks.node import Node, running_node
from cache_server.data.limits import Limits
from cache_server.http.crowd import MAX_CONNECTIONS
from tests.integration.content import chunks, tree, write
from tests.integration.programs import pull

CROWD = max(MAX_CONNECTIONS, Limits().connections) + 400
FILES = {"config.json": b"{}", "w.dat": chunks(3, more=1)}


@pytest.fixture(scope="module")
def crowded_node(module_scratch: Path) -> Iterator[Node]:
    """A node of its own: what is left of a crowd must not reach other tests."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < 2 * CROWD:
        pytest.skip(f"a process may have {most} descriptors here; the node needs {2 * CROWD}")
    write(module_scratch / "m", FILES)
    with running_node(module_scratch / "root") as node:
        node.put("voice", {"m": f"file://{module_scratch / 'm'}"})
        node.warm("voice")
        yield node


@contextmanager
def crowds(node: Node, kind: str) -> Iterator[list[int]]:
    """Have a crowd on each plane; yield how many of each came in."""
    planes = json.loads((node.root / "node.json").read_text())
    with ExitStack() as stack:
        yield [
            int(stack.enter_context(serving("benchmarks.crowd", kind, port, CROWD)))
            for port in (urlsplit(planes[plane]).port for plane in ("control", "data"))
        ]


@pytest.mark.parametrize("kind", ["idle", "slow"])
def test_a_replica_gets_its_weights_whatever_crowd_sits_on_both_planes(
    crowded_node: Node, kind: str, scratch: Path
) -> None:
    with crowds(crowded_node, kind) as came:
        done = pull(crowded_node, "voice", scratch / "out")
    assert came == [CROWD, CROWD]
    assert done.returncode == 0, done.stderr
    assert tree(scratch / "out" / "m") == FILES
