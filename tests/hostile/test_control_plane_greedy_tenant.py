"""A tenant that keeps many calls under way, to leave no thread and no connection for the others."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from cache_server.core.tenants import Quotas, Tenant
from tests.fakes.control_plane import Answer, ControlPlane, control_plane
from tests.fakes.data_node import settled
from tests.fakes.origin import MemoryOrigin, MemoryOrigins
from tests.fakes.service import SOURCE, running_service

QUOTA = 3


def of(name: str) -> Tenant:
    return Tenant(name, quotas=Quotas(connections=QUOTA if name == "greedy" else None))


@pytest.fixture
def plane(tmp_path) -> Iterator[ControlPlane]:
    origins = MemoryOrigins({SOURCE: MemoryOrigin({"config.json": b"{}"})})
    with (
        running_service(tmp_path / "root", origins) as bench,
        control_plane(bench.service, tenants=of) as plane,
    ):
        yield plane


def token(plane: ControlPlane, tenant: str) -> str:
    body, headers = {"role": "deployer"}, {"Warmline-Tenant": tenant}
    return plane.ask("POST", "/v1/tokens", body, headers=headers).json["token"]


@pytest.fixture
def greedy(plane) -> str:
    return token(plane, "greedy")


@contextmanager
def as_many_as_it_may(plane: ControlPlane, token: str) -> Iterator[list[socket.socket]]:
    """Begin calls whose bodies never come."""
    head = f"PUT /v1/pipelines/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    with ExitStack() as stack:
        calls = [
            stack.enter_context(socket.create_connection(("127.0.0.1", plane.port)))
            for _ in range(QUOTA)
        ]
        for call in calls:
            call.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert settled(lambda: listed(plane, token).status == 429)
        yield calls


def listed(plane: ControlPlane, token: str) -> Answer:
    return plane.ask("GET", "/v1/pipelines", token=token)


def test_one_call_more_than_its_quota_is_told_to_come_back(plane, greedy):
    with as_many_as_it_may(plane, greedy):
        answer = listed(plane, greedy)
    assert (answer.status, answer.json["code"], answer.json["retry"]) == (429, "quota", "later")
    assert answer.headers["retry-after"].isdecimal()
    assert answer.json["numbers"] == {"limit": QUOTA, "used": QUOTA}
    assert "tenant greedy has 3 requests under way" in answer.json["detail"]


def test_other_tenants_and_admins_are_answered_as_ever(plane, greedy):
    modest = token(plane, "modest")
    with as_many_as_it_may(plane, greedy):
        assert listed(plane, modest).status == 200
        assert plane.ask("GET", "/v1/tokens", headers={"Warmline-Tenant": "greedy"}).status == 200


def test_a_call_that_its_caller_gave_up_counts_no_more(plane, greedy):
    with as_many_as_it_may(plane, greedy) as calls:
        calls[0].close()
        assert settled(lambda: listed(plane, greedy).status == 200)
