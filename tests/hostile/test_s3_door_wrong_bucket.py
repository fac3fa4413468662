"""Buckets that are none: other pipelines' names, paths, hosts, the control plane's own."""

import pytest

from tests.fakes.s3_door import Door, code, content

NONE = [
    "absent",
    "voice.",
    "voicex",
    "v1",
    "hf",
    "files",
    "metrics",
    "a" * 100,
]
IMPOSSIBLE = [
    *("Voice", "-voice", ".", "..", "%2e%2e", "voi ce", "vo*ce", "voice%00", "%ff", "voice%0a"),
    *("a" * 101, "voice%2Fm", "voice%5Cm", "default%2Fvoice", "../voice", "xn--voice\u00e9"),
]


@pytest.mark.parametrize("bucket", NONE, ids=lambda text: text[:14])
@pytest.mark.parametrize("rest", ["", "/", "/m/config.json", "?list-type=2", "?location"])
def test_a_bucket_that_is_not_there_is_not_there(bucket, rest):
    reply = Door().ask(f"/{bucket}{rest}")
    assert (reply.status, code(reply)) == (404, "NoSuchBucket")


@pytest.mark.parametrize("bucket", IMPOSSIBLE, ids=lambda text: ascii(text[:14]))
def test_a_bucket_that_cannot_be_is_refused_before_anybody_looks(bucket):
    door = Door()
    reply = door.ask(f"/{bucket}/m/config.json")
    assert reply.status in (400, 403)
    assert code(reply) in {"InvalidBucketName", "InvalidURI", "SignatureDoesNotMatch"}
    assert door.stock.asked == []


def test_a_host_is_never_taken_for_a_bucket():
    door = Door()
    request = door.signed("/m/config.json", host="voice.cache:8080")
    reply = door.answer(request)
    assert (reply.status, code(reply)) == (404, "NoSuchBucket")


def test_a_refusal_does_not_tell_what_other_buckets_there_are():
    door = Door()
    door.stock.put({"m/a": 1})
    said = content(door.ask("/voicf/m/config.json"))
    assert b"voice" not in said
    assert b"default" not in said
