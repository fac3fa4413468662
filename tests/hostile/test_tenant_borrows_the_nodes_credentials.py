"""A tenant that names what only the node's own credentials open, and none of its own.

The node has HF_TOKEN and AWS_*, and libraries that find credentials by themselves: in the
environment, in a home directory, at a metadata service.
"""

from contextlib import suppress

import pytest

from cache_protocol.errors import CacheError
from cache_server.core.content import ModelSpec
from cache_server.core.tenants import Tenants, Terms
from cache_server.origins.admission import Admission
from cache_server.origins.settings import OriginSettings
from tests.fakes.bucket_peer import page
from tests.fakes.peer import peer, reply
from tests.fakes.tenancy import tenant


@pytest.fixture
def heads():
    return []


@pytest.fixture
def origin_at(heads, monkeypatch, tmp_path):
    """Ask an origin for tenant ``a``, which has no credentials; return what it was sent."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOFTHENODE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-node")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_node")

    def answer(head, sock):
        heads.append(head.lower())
        hub = b'{"id": "org/name", "sha": "%s"}' % (b"a" * 40)
        sock.sendall(reply(hub if "/api/" in head else page("llm/config.json")))

    with peer(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        settings = OriginSettings(hf_endpoint=url, hf_token="hf_of_the_node")
        listed = {
            "a": tenant("a", "hf://*", "s3://*"),
            "default": tenant("default", "hf://*", "s3://*", node_credentials=True),
        }
        yield Admission(Tenants(listed).of, settings, closed=[])


def ask(admission, tenant, source):
    origin = admission.open(ModelSpec("m", source), Terms(tenant, vouched=False))
    with suppress(CacheError):  # what counts is what was sent
        origin.resolve()
    origin.close()


@pytest.mark.parametrize("source", ["hf://org/name", "s3://bucket/llm"])
def test_they_are_not_sent_for_it(origin_at, heads, source):
    ask(origin_at, "a", source)
    assert heads
    assert not [head for head in heads if "authorization" in head]


@pytest.mark.parametrize("source", ["hf://org/name", "s3://bucket/llm"])
def test_for_a_tenant_that_may_use_them_they_are(origin_at, heads, source):
    ask(origin_at, "default", source)
    assert [head for head in heads if "authorization" in head]
