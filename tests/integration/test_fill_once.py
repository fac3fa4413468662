"""Every byte leaves the origin once, whoever asks, leaves, or fails on the way."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.node import Node
from cache_protocol.digests import CHUNK_SIZE
from tests.fakes.hub import Fault, Hub
from tests.integration.conftest import Hold
from tests.integration.content import chunks, digests
from tests.integration.programs import (
    answer,
    cache_of,
    kill,
    last_error,
    pull,
    replica,
)

REPLICAS, WARM_REQUESTS = 10, 5


def sent(hub: Hub, repo: str) -> dict[str, int]:
    """Return the bytes of content that left the hub, by path."""
    return {p.removeprefix(f"{repo}/"): n for p, n in hub.sent.items() if p.startswith(f"{repo}/")}


def sizes(files: dict[str, bytes]) -> dict[str, int]:
    return {path: len(data) for path, data in files.items()}


def test_ten_replicas_and_five_warm_requests_share_one_fill(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold
) -> None:
    files = {"a.dat": chunks(2), "b.dat": chunks(2, seed=1, more=77), "c.txt": b"c"}
    hub.commit(repo, files)
    gate = hold(f"{repo}/", at="cdn")
    node.put(pipeline, {"m": f"hf://{repo}"})
    with ExitStack() as stack, ThreadPoolExecutor(WARM_REQUESTS) as pool:
        readers = [stack.enter_context(replica(node, pipeline)) for _ in range(REPLICAS)]
        path = f"/v1/pipelines/{pipeline}/warm"
        warmed = [pool.submit(answer, node, "POST", path, {}) for _ in range(WARM_REQUESTS)]
        assert {w.result()[0] for w in warmed} == {202}
        for reader in readers:
            reader.verified(1)
        gate.set()
        assert [r.finished()["files"] for r in readers] == [digests(files)] * REPLICAS
    assert sent(hub, repo) == sizes(files)


def test_the_fill_goes_on_when_the_replica_that_started_it_is_killed(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold
) -> None:
    files = {"a.dat": chunks(5)}
    hub.commit(repo, files)
    gate = hold(f"{repo}/", at="cdn", chunk=4)
    node.put(pipeline, {"m": f"hf://{repo}"})
    with replica(node, pipeline) as first:
        hub.wait_until_stalled()
        with replica(node, pipeline) as second:
            second.verified(4 * CHUNK_SIZE)  # it has joined
            kill(first.process.pid)
            first.process.wait()
            gate.set()
            assert second.finished()["files"] == digests(files)
    assert sent(hub, repo) == sizes(files)


def status(code: int, **headers: str) -> Callable[[str], list[Fault]]:
    return lambda repo: [Fault(f"{repo}/", times=3, at="cdn", status=code, headers=headers)]


def broken(**how: bool) -> Callable[[str], list[Fault]]:
    after = CHUNK_SIZE // 4
    return lambda repo: [Fault(f"{repo}/", times=3, at="cdn", after=after, **how)]


FAULTS = {
    "429 with a wish": status(429, **{"Retry-After": "1"}),
    "500": status(500),
    "503": status(503),
    "408": status(408),
    "reset": broken(reset=True),
    "cut short": broken(truncate=True),
    "500 of the hub itself": lambda repo: [Fault(f"{repo}/resolve", times=2, at="hub", status=500)],
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_an_origin_that_stumbles_sends_no_byte_twice_but_those_that_were_lost(
    node: Node, hub: Hub, pipeline: str, repo: str, fault: Callable[[str], list[Fault]]
) -> None:
    files = {"a.dat": chunks(4)}
    hub.commit(repo, files)
    ordered = fault(repo)
    hub.order(*ordered)
    node.put(pipeline, {"m": f"hf://{repo}"})
    with replica(node, pipeline) as reader:
        assert reader.finished()["files"] == digests(files)
    assert all(f.times == 0 for f in ordered)
    # What was sent before a reset may never have been received.
    lost = sum(3 * f.after for f in ordered)
    assert len(files["a.dat"]) <= sent(hub, repo)["a.dat"] <= len(files["a.dat"]) + lost


def test_an_origin_that_goes_silent_in_the_middle_is_asked_again_from_the_next_byte(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold
) -> None:
    files = {"a.dat": chunks(2)}
    hub.commit(repo, files)
    hold(f"{repo}/", at="cdn", chunk=1, after=CHUNK_SIZE // 2)  # opens when the test is over
    node.put(pipeline, {"m": f"hf://{repo}"})
    with replica(node, pipeline) as reader:
        assert reader.finished()["files"] == digests(files)
    assert sent(hub, repo) == sizes(files)


def test_an_address_that_ran_out_during_the_fill_is_renewed(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold
) -> None:
    files = {"a.dat": chunks(2)}
    hub.commit(repo, files)
    gate = hold(f"{repo}/", at="cdn", chunk=1, reset=True)
    node.put(pipeline, {"m": f"hf://{repo}"})
    with replica(node, pipeline) as reader:
        hub.wait_until_stalled()
        hub.expire_urls()
        gate.set()
        assert reader.finished()["files"] == digests(files)
    assert 403 in {r.status for r in hub.asked("cdn", repo)}
    assert sent(hub, repo) == sizes(files)


# An origin that asks for more patience than the node has is given up at once.
OUTAGE = {"status": 503, "headers": {"Retry-After": "3600"}, "times": 10**9}


@pytest.fixture
def outage(hub: Hub, repo: str) -> Fault:
    return Fault(repo, **OUTAGE)  # type: ignore[arg-type]


def test_an_outage_reaches_everyone_who_waits(
    node: Node, hub: Hub, pipeline: str, repo: str, outage: Fault, scratch: Path
) -> None:
    hub.commit(repo, {"a.dat": chunks(1)})
    hub.order(outage)
    node.put(pipeline, {"m": f"hf://{repo}"})
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda n: pull(node, pipeline, scratch / str(n)), range(3)))
    assert {d.returncode for d in done} == {1}
    assert all("503" in d.stderr for d in done)
    assert last_error(node, pipeline)["code"] == "origin-unavailable"


def test_a_fill_works_again_when_the_origin_is_back(
    node: Node, hub: Hub, pipeline: str, repo: str, outage: Fault, scratch: Path
) -> None:
    files = {"a.dat": chunks(1)}
    hub.commit(repo, files)
    hub.order(outage)
    node.put(pipeline, {"m": f"hf://{repo}"})
    assert pull(node, pipeline, scratch / "out").returncode == 1
    outage.times = 0
    node.warm(pipeline)
    assert "last_error" not in cache_of(node, pipeline)
    with replica(node, pipeline) as reader:
        assert reader.finished()["files"] == digests(files)


def test_a_replica_lives_through_an_outage_in_the_middle_of_its_fill(
    node: Node, hub: Hub, pipeline: str, repo: str, hold: Hold
) -> None:
    files = {"a.dat": chunks(9)}
    hub.commit(repo, files)
    gate = hold(f"{repo}/", at="cdn", chunk=7, reset=True)
    node.put(pipeline, {"m": f"hf://{repo}"})
    with replica(node, pipeline) as reader:
        reader.verified(4 * CHUNK_SIZE)
        outage = Fault(repo, **OUTAGE)  # type: ignore[arg-type]
        hub.order(outage)
        gate.set()
        assert last_error(node, pipeline)["code"] == "origin-unavailable"
        outage.times = 0
        assert reader.finished()["files"] == digests(files)
    assert sent(hub, repo) == sizes(files)
