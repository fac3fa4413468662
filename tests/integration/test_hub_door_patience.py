"""What clients of the hub's door see while its origin is silent: a word within five seconds."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from huggingface_hub import snapshot_download

from benchmarks.node import Node, running_node
from tests.fakes.hub import Fault, Hub
from tests.fakes.hub_client import usual_client
from tests.integration.conftest import Hold
from tests.integration.content import chunks, tree
from tests.integration.programs import cache_of, until

PROMISE = 5.0  # seconds to the head of an answer, whatever the origin does
FILES = {"config.json": b"{}", "model.dat": chunks(1, more=5)}
TENANTS = "tenants: {default: {origins: ['hf://*'], on_demand: true}}"
QUESTIONS = (
    ("GET", "api/models/org/name"),
    ("GET", "api/models/org/name/revision/main"),
    ("GET", "api/models/org/name/tree/main?recursive=true"),
    ("GET", "api/models/org/name/refs"),
    ("HEAD", "org/name/resolve/main/config.json"),
    ("GET", "org/name/resolve/main/model.safetensors"),
)


def ask(node: Node, method: str, path: str, **fields: str) -> tuple[HTTPResponse, float]:
    """Return an answer, and the seconds until its head was there."""
    url = urlsplit(path if path.startswith("http") else node.control + path)
    connection = HTTPConnection(url.netloc, timeout=30)
    begun = time.monotonic()
    headers = {"Authorization": f"Bearer {node.token}", **fields}
    connection.request(method, f"{url.path}?{url.query}", None, headers)
    got = connection.getresponse()
    took = time.monotonic() - begun
    got.body = got.read()  # type: ignore[attr-defined]
    connection.close()
    return got, took


@pytest.fixture
def tenants(scratch: Path) -> Path:
    path = scratch / "tenants.yaml"
    path.write_text(TENANTS)
    return path


def test_while_the_hub_says_nothing_every_question_is_told_within_5_s_to_come_back(
    scratch: Path, tenants: Path
) -> None:
    with (
        # It takes every connection, and says nothing.
        socket.create_server(("127.0.0.1", 0), backlog=128) as hub,
        running_node(
            scratch / "node",
            *("--tenants", str(tenants)),
            env={"HF_ENDPOINT": f"http://127.0.0.1:{hub.getsockname()[1]}"},
        ) as node,
        ThreadPoolExecutor(2 * len(QUESTIONS)) as pool,
    ):
        node.put("voice", {"m": "hf://org/name"})
        asked = [(m, f"/hf/{door}/{path}") for door in ("voice", "-") for m, path in QUESTIONS]
        answers = list(pool.map(lambda question: ask(node, *question), asked))
        hub.close()  # now it says something: that it is gone; so the node need not wait at its end
    for question, (got, took) in zip(asked, answers, strict=True):
        assert (got.status, got.headers["Retry-After"]) == (429, "5"), question
        assert took < PROMISE, question


def test_a_file_whose_first_byte_does_not_come_is_asked_for_again_and_then_arrives(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold
) -> None:
    hub.commit(repo, FILES)
    gate = hold(f"{repo}/", at="cdn", chunk=0)
    node.put(pipeline, {"m": f"hf://{repo}"})
    path = f"/hf/{pipeline}/{repo}/resolve/main/model.dat"
    sent, took = until(lambda: _sent_on(node, path))
    assert took < PROMISE
    place = sent.headers["Location"]
    got, took = ask(node, "GET", place)
    assert (got.status, got.headers["Retry-After"]) == (429, "5")
    assert took < PROMISE
    gate.set()
    until(lambda: cache_of(node, pipeline)["warm"])
    got, _ = ask(node, "GET", place)
    assert (got.status, got.body) == (200, FILES["model.dat"])  # type: ignore[attr-defined]


def _sent_on(node: Node, path: str) -> tuple[HTTPResponse, float] | None:
    got, took = ask(node, "GET", path)
    return (got, took) if got.status == 302 else None


def test_a_client_needs_no_pipeline_where_the_tenants_file_says_so(
    scratch: Path, tenants: Path, hub: Hub, repo: str
) -> None:
    commit = hub.commit(repo, FILES)
    env = {"HF_ENDPOINT": hub.endpoint}
    with running_node(scratch / "node", "--tenants", str(tenants), env=env) as node, usual_client():
        token = node.call("POST", "/v1/tokens", {"role": "replica"})["token"]
        door = {"endpoint": f"{node.control}/hf/-", "token": token}
        first = snapshot_download(repo, cache_dir=scratch / "one", **door)
        assert (Path(first).name, tree(Path(first))) == (commit, FILES)
        (made,) = node.call("GET", "/v1/pipelines")["pipelines"]
        until(lambda: cache_of(node, made["id"])["warm"])

        hub.order(down := Fault(repo, times=1000, status=503))
        by_commit = snapshot_download(repo, revision=commit, cache_dir=scratch / "two", **door)
        assert tree(Path(by_commit)) == FILES
        assert down.times == 1000, "a warm hit sends nothing to the origin"
        assert len(node.call("GET", "/v1/pipelines")["pipelines"]) == 1


def test_what_there_is_no_room_for_passes_through_to_a_client_of_the_hub(
    scratch: Path, hub: Hub, repo: str
) -> None:
    hub.commit(repo, FILES)
    env = {"HF_ENDPOINT": hub.endpoint}
    with running_node(scratch / "node", "--capacity", "1MB", env=env) as node, usual_client():
        node.put("voice", {"m": f"hf://{repo}"})
        door = {"endpoint": f"{node.control}/hf/voice", "token": node.token}
        path = snapshot_download(repo, cache_dir=scratch / "cache", **door)
        assert tree(Path(path)) == FILES
        assert node.call("GET", "/v1/status")["passing_through"] == 1
