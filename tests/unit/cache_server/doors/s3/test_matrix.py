"""Who may ask for what through the S3 door: every role, every operation, own and foreign buckets.

Complete over the door's operations: one that is not in the table fails a test.
"""

import pytest

from cache_server.catalogue.registry import Key
from cache_server.core.access import Role
from cache_server.doors.s3.operations import Operation
from tests.fakes.s3_door import Door, code, content

READERS = {Role.ADMIN, Role.REPLICA}
# operation -> method and target, {} for the bucket
CALLS = {
    Operation.LIST_BUCKETS: ("GET", ""),
    Operation.HEAD_BUCKET: ("HEAD", "/{}"),
    Operation.LOCATION: ("GET", "/{}?location"),
    Operation.VERSIONING: ("GET", "/{}?versioning"),
    Operation.LIST: ("GET", "/{}?list-type=2"),
    Operation.LIST_V1: ("GET", "/{}"),
    Operation.OBJECT: ("GET", "/{}/m/a"),
}
OF_ONE = [call for call in CALLS.values() if "{}" in call[1]]


@pytest.fixture
def door():
    door = Door()
    for key in (Key("default", "mine"), Key("default", "beside"), Key("other", "theirs")):
        door.stock.put({"m/a": 5}, key=key)
    return door


def test_the_table_has_every_operation():
    assert set(CALLS) == set(Operation)


@pytest.mark.parametrize("role", list(Role))
def test_who_reads_weights_makes_every_call_and_nobody_else_any(door, role):
    door.keys.add("one", role=role)
    for method, target in CALLS.values():
        reply = door.ask(target.format("mine"), method, key="one")
        assert reply.status == (200 if role in READERS else 403), target
        if role not in READERS and method == "GET":
            assert code(reply) == "AccessDenied"


def test_a_foreign_bucket_looks_exactly_like_one_that_does_not_exist(door):
    for method, target in OF_ONE:
        foreign, absent = (door.ask(target.format(b), method) for b in ("theirs", "absent"))
        assert foreign.status == absent.status == 404, target
        said = [_without_id(reply) for reply in (foreign, absent)]
        assert said[0].replace(b"theirs", b"absent") == said[1]


def test_for_a_key_of_one_pipeline_there_is_no_other(door):
    door.keys.add("narrow", pipelines=frozenset({"mine"}))
    for method, target in OF_ONE:
        assert door.ask(target.format("mine"), method, key="narrow").status == 200
        assert door.ask(target.format("beside"), method, key="narrow").status == 404
    listed = content(door.ask("", key="narrow"))
    assert b"<Name>mine</Name>" in listed
    assert b"beside" not in listed


def test_buckets_of_others_are_not_listed(door):
    listed = content(door.ask(""))
    assert b"<Name>mine</Name>" in listed
    assert b"theirs" not in listed


def test_an_admin_s_key_is_of_its_own_tenant_alone(door):
    door.keys.add("admin-key", role=Role.ADMIN)
    assert door.ask("/theirs", key="admin-key").status == 404


def test_nobody_without_a_signature_makes_any_call(door):
    for method, target in CALLS.values():
        asked = door.signed(target.format("mine"), method)
        fields = {n: v for n, v in asked.fields.items() if n != "authorization"}
        reply = door.answer(type(asked)(asked.method, asked.path, asked.query, fields))
        assert reply.status == 403


def _without_id(reply) -> bytes:
    name = reply.fields["x-amz-request-id"].encode()
    return content(reply).replace(name, b"")
