"""What an agent says and hears of plans, at a real node over a real socket."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from cache_protocol.errors import (
    ForbiddenError,
    MalformedError,
    PlanRefusedError,
    UnknownPipelineError,
    UnknownPlanError,
)
from cache_protocol.plans import (
    Piece,
    Plan,
    checkpoint_digest,
    dump_key,
    dump_plan,
    parse_plan,
)
from cache_server.core.access import Role
from replica_agent.client import ControlClient
from tests.fakes.control_plane import TOKEN, control_plane
from tests.fakes.node import FakeNode
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.plans import plan
from tests.fakes.service import SOURCE, running_service
from tests.fakes.weights import safetensors

WEIGHTS = "model.safetensors"
SIZE = 80 * 2**20  # bytes; enough for plans of more than the usual body


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    origin = MemoryOrigin({WEIGHTS: safetensors(0, more=SIZE)})
    root = tmp_path_factory.mktemp("node") / "root"
    with running_service(root, MemoryOrigins({SOURCE: origin}), capacity=2**30) as bench:
        bench.reconciled()
        bench.put()
        assert bench.warm() is None
        with control_plane(bench.service) as plane:
            plane.bench = bench
            yield plane


@pytest.fixture
def client(node):
    return ControlClient(node.url, TOKEN)


def traced(client: ControlClient, **key) -> Plan:
    """Return a plan of what the node has, made with nothing but its manifest."""
    manifest = client.manifest("voice")
    checkpoint = checkpoint_digest(manifest.models["m"], manifest.generation)
    return plan(files={WEIGHTS: SIZE}, **{"checkpoint": checkpoint, **key})


def leave(client: ControlClient, plan: Plan) -> None:
    client.put_document("voice", "m", plan.key.digest, dump_plan(plan))


def found(client: ControlClient, plan: Plan) -> bytes:
    return client.plan_document("voice", "m", plan.key.digest, len(dump_plan(plan)))


def test_a_plan_comes_back_as_it_was_left(client):
    left = traced(client, version="1")
    leave(client, left)
    assert left.key in [each.key for each in client.listed_plans("voice", "m")]
    assert found(client, left) == dump_plan(left)


def test_a_plan_of_many_pieces_is_taken(client):
    left = traced(client, version="2")
    pieces = tuple(Piece(0, 1000 + n, 1, 0, 64, 2, 64, 64) for n in range(50_000))
    large = replace(left, pieces=pieces)
    assert len(dump_plan(large)) > 2**20
    leave(client, large)
    assert parse_plan(found(client, large)) == large


def test_a_plan_that_is_not_there_is_unknown(client):
    with pytest.raises(UnknownPlanError):
        found(client, traced(client, version="none"))


def test_a_pipeline_that_is_not_there_has_none(client):
    with pytest.raises(UnknownPipelineError):
        client.listed_plans("other", "m")


def test_a_plan_of_other_weights_is_refused(client):
    with pytest.raises(PlanRefusedError):
        leave(client, traced(client, checkpoint="f" * 32))


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEPLOYER])
def test_who_may_not_read_the_weights_may_neither_see_nor_leave_plans(node, client, role):
    token = node.ask("POST", "/v1/tokens", {"role": role}).json["token"]
    other = ControlClient(node.url, token)
    for call in (
        lambda: other.listed_plans("voice", "m"),
        lambda: found(other, traced(client)),
        lambda: leave(other, traced(client)),
    ):
        with pytest.raises(ForbiddenError):
            call()


@pytest.mark.parametrize(
    "listed", [b"{}", b"[]", b"no JSON", b'{"plans": 1}', b'{"plans": [{}]}', b'{"plans": [[]]}']
)
def test_an_answer_that_lists_no_plans_is_malformed(listed):
    with FakeNode({"m": {WEIGHTS: b""}}) as fake:
        fake.faults.plans = listed
        with pytest.raises(MalformedError):
            ControlClient(fake.url).listed_plans("voice", "m")


@pytest.mark.parametrize("size", [b"1e999", b"1.5", b"-1", b"true", b'"7"', b"null"])
def test_a_size_that_is_no_count_is_malformed(size):
    key = json.dumps(dump_key(plan().key)).encode()
    with FakeNode({"m": {WEIGHTS: b""}}) as fake:
        fake.faults.plans = b'{"plans": [{"key": %s, "bytes": %s}]}' % (key, size)
        with pytest.raises(MalformedError):
            ControlClient(fake.url).listed_plans("voice", "m")


@pytest.mark.parametrize(("size", "said"), [(9, "not 9 as"), (2**17, "sent more than 131072")])
def test_a_plan_larger_than_it_was_listed_with_is_malformed(size, said):
    with FakeNode({"m": {WEIGHTS: b""}}) as fake:
        fake.plans["m", "0" * 32] = b" " * (size + 1)
        with pytest.raises(MalformedError, match=said):
            ControlClient(fake.url).plan_document("voice", "m", "0" * 32, size)


def test_an_agent_starts_without_the_words_of_plans():
    code = "import sys, replica_agent.boot.run; print('cache_protocol.plans' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
