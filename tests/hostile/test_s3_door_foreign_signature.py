"""Somebody with a good key of his own: tries pipelines of another tenant, or outside his key."""

from datetime import UTC, datetime, timedelta

import pytest

from cache_server.catalogue.registry import Key, Registry
from cache_server.catalogue.tokens import Tokens
from cache_server.core.access import Role
from cache_server.core.attempts import FailedAttempts
from cache_server.doors.s3.credentials import Credentials
from cache_server.doors.s3.door import S3Door
from cache_server.service.identities import Identities
from tests.fakes.s3_door import Door, code

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def door(tmp_path):
    """A door whose keys are made of real tokens."""
    registry = Registry(f"sqlite:///{tmp_path}/catalogue.db")
    door = Door()
    door.now = START
    door.keys = identities = Identities(
        Tokens(registry), "root-token", key=b"k" * 32, now=lambda: door.now
    )
    credentials = Credentials(identities, FailedAttempts())
    door.door = S3Door(door.stock, credentials, lambda: datetime.now(UTC))
    door.stock.put({"m/theirs": 5}, key=Key("other", "theirs"))
    yield door
    registry.close()


def token(door, tenant: str = "default", role: Role = Role.REPLICA, **more) -> str:
    return door.keys.create(tenant, role, **more)[0].identity.id


def test_a_key_opens_its_tenant_and_no_other(door):
    ours, theirs = token(door), token(door, "other")
    assert door.ask("/voice/m/config.json", key=ours).status == 200
    assert door.ask("/theirs/m/theirs", key=theirs).status == 200
    for target, key in (("/theirs/m/theirs", ours), ("/voice/m/config.json", theirs)):
        reply = door.ask(target, key=key)
        assert (reply.status, code(reply)) == (404, "NoSuchBucket")


def test_the_secret_of_one_key_does_not_sign_for_another(door):
    ours, theirs = token(door), token(door, "other")
    request = door.signed("/theirs/m/theirs", key=theirs, secret=door.keys.s3_secret(ours))
    reply = door.answer(request)
    assert (reply.status, code(reply)) == (403, "SignatureDoesNotMatch")


def test_the_text_of_a_token_is_no_secret_key(door):
    made, text = door.keys.create("default", Role.REPLICA)
    reply = door.answer(door.signed("/voice", key=made.identity.id, secret=text))
    assert code(reply) == "SignatureDoesNotMatch"


def test_a_revoked_key_opens_nothing_from_that_moment_on(door):
    ours = token(door)
    presigned = door.presigned("/voice/m/config.json", key=ours, expires=604800)
    assert door.answer(presigned).status == 200
    door.keys.revoke(ours)
    for request in (presigned, door.signed("/voice/m/config.json", key=ours)):
        reply = door.answer(request)
        assert (reply.status, code(reply)) == (403, "InvalidAccessKeyId")


def test_a_key_that_has_run_out_opens_nothing(door):
    ours = token(door, lifetime=timedelta(hours=1))
    assert door.ask("/voice", key=ours).status == 200
    door.now += timedelta(hours=1)
    assert code(door.ask("/voice", key=ours)) == "InvalidAccessKeyId"


def test_the_node_s_own_token_has_no_key(door):
    reply = door.ask("/voice", key="admin")
    assert (reply.status, code(reply)) == (403, "InvalidAccessKeyId")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.DEPLOYER])
def test_who_may_not_read_weights_may_not_here(door, role):
    reply = door.ask("/voice/m/config.json", key=token(door, role=role))
    assert (reply.status, code(reply)) == (403, "AccessDenied")
