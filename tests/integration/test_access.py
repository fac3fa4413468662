"""A hub that takes a repository away, or falls silent: what readers of a warm slot see of it."""

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.node import Node, running_node
from tests.fakes.hub import Fault, Hub
from tests.integration.content import chunks, tree
from tests.integration.programs import cache_of, pull, until

FILES = {"config.json": b"{}", "model.dat": chunks(1, more=5)}
OURS = "hf_of_the_operator"
DENIED = 4  # exit code of ``replica-agent --help``


@pytest.fixture(scope="module")
def careful(module_scratch: Path, hub: Hub) -> Iterator[Node]:
    """A node that asks every second whether it may still read."""
    hub.tokens[OURS] = "the operator"
    env = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": OURS,
        "CACHE_SERVER_ACCESS_CHECK": "PT1S",
    }
    with running_node(module_scratch / "careful", env=env) as node:
        yield node


@pytest.fixture
def gated(careful: Node, hub: Hub, pipeline: str, repo: str) -> Iterator[str]:
    """A warm pipeline of a gated repository."""
    hub.commit(repo, FILES)
    hub.repository(repo).gated = True
    careful.put(pipeline, {"m": f"hf://{repo}"})
    careful.warm(pipeline)
    yield pipeline
    hub.tokens[OURS] = "the operator"


def door(node: Node, pipeline: str, repo: str) -> tuple[int, str | None]:
    """Return the status of a file through the hub's door, and the hub's code for it."""
    connection = HTTPConnection(urlsplit(node.control).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {node.token}"}
    connection.request("GET", f"/hf/{pipeline}/{repo}/resolve/main/config.json", None, headers)
    got = connection.getresponse()
    got.read()
    connection.close()
    return got.status, got.headers["X-Error-Code"]


def test_a_repository_that_is_taken_away_is_served_by_no_way_until_it_is_given_back(
    careful: Node, hub: Hub, gated: str, repo: str, scratch: Path
) -> None:
    assert door(careful, gated, repo) == (200, None)
    del hub.tokens[OURS]
    until(lambda: door(careful, gated, repo) == (403, "GatedRepo"))
    refused = pull(careful, gated, scratch / "none")
    assert refused.returncode == DENIED
    assert "is restricted and you are not in the list" in refused.stderr
    assert cache_of(careful, gated)["access"]["denied"]
    sent = sum(hub.sent.values())

    hub.tokens[OURS] = "the operator"
    until(lambda: door(careful, gated, repo) == (200, None))
    assert pull(careful, gated, scratch / "got").returncode == 0
    assert tree(scratch / "got/m") == FILES
    assert sum(hub.sent.values()) == sent


def test_a_hub_that_fails_takes_nothing_away(
    careful: Node, hub: Hub, gated: str, repo: str, scratch: Path
) -> None:
    down = Fault(f"/api/models/{repo}", times=1000, status=503)
    hub.order(down)
    until(lambda: down.times < 998)  # it was asked more than once
    assert door(careful, gated, repo) == (200, None)
    assert pull(careful, gated, scratch / "got").returncode == 0
    down.times = 0
