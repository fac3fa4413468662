"""A hub that takes a repository away, or falls silent: what readers of a warm slot see of it."""

from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError

from benchmarks.node import Node, running_node
from tests.fakes.hub import Fault, Hub
from tests.integration.content import chunks, tree
from tests.integration.programs import cache_of, pull, until
from tests.integration.s3_programs import Access, access_to

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


def of_s3(access: Access, pipeline: str) -> dict[str, str]:
    """Return what a client of S3 is told, a code or that it is fine, by what it asks."""
    with access.boto3(retries={"max_attempts": 1}) as client:
        names = {"Bucket": pipeline, "Key": "m/model.dat"}
        calls = {
            "list": lambda: client.list_objects_v2(Bucket=pipeline),
            "head": lambda: client.head_object(**names),
            "stage": lambda: client.head_object(**names, Range="bytes=0-0"),
            "get": lambda: client.get_object(**names),
        }
        return {name: told(call) for name, call in calls.items()}


def told(call: Callable[[], object]) -> str:
    """Return the code that ``call`` fails with; of a HEAD, which has no body, its status."""
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "fine"


def test_what_is_taken_away_is_neither_listed_nor_read_through_s3_until_it_is_given_back(
    careful: Node, hub: Hub, gated: str
) -> None:
    access = access_to(careful)
    fine = dict.fromkeys(("list", "head", "stage", "get"), "fine")
    assert of_s3(access, gated) == fine  # and from here on it is held for this client
    with access.boto3() as client:
        url = client.generate_presigned_url("get_object", {"Bucket": gated, "Key": "m/model.dat"})
    del hub.tokens[OURS]
    denied = {"list": "AccessDenied", "head": "403", "stage": "403", "get": "AccessDenied"}
    until(lambda: of_s3(access, gated) == denied)
    with pytest.raises(HTTPError, match="403") as refused:
        urlopen(url, timeout=30)  # noqa: S310 - of our own node
    assert b"may not be read any more" in refused.value.read()
    sent = sum(hub.sent.values())

    hub.tokens[OURS] = "the operator"
    until(lambda: of_s3(access, gated) == fine)
    with urlopen(url, timeout=30) as got:  # noqa: S310
        assert got.read() == FILES["model.dat"]
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
