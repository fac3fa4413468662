"""Slashes in disguise: to have the border between bucket and key lie where nobody looks."""

import pytest

from cache_server.catalogue.registry import Key
from cache_server.doors.s3.request import S3Request
from tests.fakes.s3_door import Door, code, content


@pytest.fixture
def door():
    door = Door()
    door.keys.add("narrow", pipelines=frozenset({"voice"}))
    door.stock.put({"m/config.json": 10}, key=Key("default", "beside"))
    return door


def test_a_slash_in_a_key_is_a_slash_however_it_is_written(door):
    plain, coded = (door.ask(f"/voice/{key}") for key in ("m/config.json", "m%2Fconfig.json"))
    assert content(plain) == content(coded) != b""


@pytest.mark.parametrize("path", ["/beside%2Fm%2Fconfig.json", "/voice%2F..%2Fbeside/m/a", "/%2F"])
def test_a_slash_in_disguise_is_never_the_end_of_a_bucket(door, path):
    reply = door.ask(path, key="narrow")
    assert (reply.status, code(reply)) == (400, "InvalidBucketName")


@pytest.mark.parametrize(
    "path", ["/s3%2Fbeside/m/config.json", "/s3//beside/m/config.json", "/s3/%2e%2e/s3/beside/m/a"]
)
def test_a_path_that_reads_in_two_ways_leads_to_no_other_bucket(door, path):
    signed = door.signed("/voice/m/config.json", key="narrow")
    reply = door.answer(S3Request("GET", path, "", signed.fields))
    assert reply.status in (400, 403, 404)


def test_a_key_that_is_encoded_twice_is_another_key(door):
    reply = door.ask("/voice/m%252Fconfig.json")
    assert (reply.status, code(reply)) == (404, "NoSuchKey")


def test_a_signature_is_good_for_one_object_however_its_path_is_spelt(door):
    signed = door.signed("/voice/m/config.json", key="narrow")
    same = door.answer(S3Request("GET", "/s3/voice/m%2Fconfig.json", "", signed.fields))
    other = door.answer(S3Request("GET", "/s3/voice%2Fm/config.json", "", signed.fields))
    assert content(same) == content(door.answer(signed))
    assert code(other) == "InvalidBucketName"
