import socket
import threading
from threading import Timer

import pytest

from cache_protocol.errors import (
    CacheError,
    MalformedError,
    ServerUnreachableError,
    UnauthorizedError,
    UnknownPipelineError,
)
from replica_agent import connection
from replica_agent.client import ControlClient
from tests.fakes.boots import until
from tests.fakes.node import FakeNode


@pytest.fixture
def node():
    with FakeNode({"asr": {"a": b"a"}}, token="SECRET") as node:
        yield node


def test_a_manifest_is_asked_for_with_the_token_in_its_header_only(node):
    assert ControlClient(node.url, "SECRET").manifest("voice").size == 1
    assert "SECRET" not in node.manifests()[0].path


def test_a_wrong_token_is_unauthorized_and_not_shown(node):
    with pytest.raises(UnauthorizedError) as caught:
        ControlClient(node.url, "WRONG").manifest("voice")
    assert "WRONG" not in str(caught.value)


def test_a_token_that_was_read_from_a_file_is_used_without_its_newline(node):
    assert ControlClient(node.url, "SECRET\n").manifest("voice").size == 1


@pytest.mark.parametrize("token", ["SEC\nRET", "SEC\0RET", "SECRET\u00e9", " "])
def test_what_no_header_can_carry_is_no_token_and_not_shown(token):
    with pytest.raises(MalformedError) as caught:
        ControlClient("http://127.0.0.1", token)
    assert "RET" not in str(caught.value)


def test_a_problem_document_becomes_its_error(node):
    with pytest.raises(UnknownPipelineError):
        ControlClient(node.url, "SECRET").manifest("other")


def test_nobody_at_the_address_is_unreachable():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ServerUnreachableError):
        ControlClient(f"http://127.0.0.1:{port}").manifest("voice")


def test_a_name_that_is_found_too_late_is_no_longer_connected_to(node, monkeypatch):
    find = connection._addresses

    def late(endpoint):
        until(lambda: not any(isinstance(each, Timer) for each in threading.enumerate()))
        return find(endpoint)

    monkeypatch.setattr(connection, "_addresses", late)
    with pytest.raises(ServerUnreachableError, match="no answer came in time"):
        ControlClient(node.url, "SECRET").manifest("voice", 0.01)
    assert node.manifests() == []


def test_the_manifest_of_another_pipeline_is_refused(node):
    node.pipeline = "other"
    manifest = node.manifest()
    node.pipeline = "voice"
    node.manifest = lambda: manifest
    with pytest.raises(MalformedError, match="other"):
        ControlClient(node.url, "SECRET").manifest("voice")


def test_a_lease_is_renewed_until_the_node_forgets_it(node):
    client = ControlClient(node.url, "SECRET")
    lease = client.manifest("voice").lease.id
    assert client.renew(lease)
    client.give_back(lease)
    assert not client.renew(lease)


def test_a_lease_that_is_gone_can_be_given_back_again(node):
    ControlClient(node.url, "SECRET").give_back("never-was")


def test_after_close_only_a_goodbye_is_said(node):
    client = ControlClient(node.url, "SECRET")
    lease = client.manifest("voice").lease.id
    client.close()
    with pytest.raises(ServerUnreachableError, match="closed"):
        client.manifest("voice")
    client.give_back(lease)
    assert node.leases == set()


def test_an_answer_without_a_reason_is_an_error_with_its_status(node):
    node.faults.manifest_error = (502, None)
    with pytest.raises(CacheError, match="502"):
        ControlClient(node.url, "SECRET").manifest("voice")
