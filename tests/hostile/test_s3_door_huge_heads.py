"""Heads that are all parameters, fields, commas or percent signs, to burn the node's time."""

import time

import pytest

from cache_server.doors.s3.request import S3Request
from tests.fakes.s3_door import Door, content

SIZE = 16 * 2**10  # bytes: as large as a head gets before the data plane refuses it
QUICK = 2.0  # seconds of a core; each takes milliseconds


def answered(method: str = "GET", path: str = "/s3/voice", query: str = "", **fields: str) -> int:
    door = Door()
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    begin = time.process_time()
    reply = door.answer(S3Request(method, path, query, {"host": "cache:8080", **named}))
    assert time.process_time() - begin < QUICK
    assert len(content(reply)) < 20_000
    return reply.status


@pytest.mark.parametrize(
    "query",
    [
        *("&" * SIZE, "a&" * (SIZE // 2), "=" * SIZE, "%" * SIZE, "%41" * (SIZE // 3)),
        *("a=" + "+" * SIZE, "X-Amz-Signature=" + "0" * SIZE),
        "&".join(f"a{n}=" for n in range(2000)),
    ],
    ids=lambda text: text[:10],
)
def test_a_huge_query_is_refused_quickly(query):
    assert answered(query=query) in (400, 403)


@pytest.mark.parametrize(
    "header",
    [
        "AWS4-HMAC-SHA256 " + "," * SIZE,
        "AWS4-HMAC-SHA256 " + " " * SIZE,
        "AWS4-HMAC-SHA256 Credential=" + "/" * SIZE,
        "AWS4-HMAC-SHA256 Credential=a , , " * 500,
        "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=" + ";" * SIZE + ", Signature=c",
        "AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b, Signature=" + "0" * SIZE,
        "A" * SIZE,
    ],
    ids=lambda text: text[-20:],
)
def test_a_huge_signature_is_refused_quickly(header):
    more = {"x_amz_content_sha256": "UNSIGNED-PAYLOAD", "x_amz_date": "20260101T000000Z"}
    assert answered(authorization=header, **more) in (400, 403)


@pytest.mark.parametrize("path", ["/" * SIZE, "/s3/" + "a" * SIZE, "/s3/voice/" + "%2F" * 5000])
def test_a_huge_path_is_refused_quickly(path):
    assert answered(path=path) in (400, 403)


def test_a_thousand_fields_that_s3_would_have_signed_are_named_in_few_words():
    door = Door()
    request = door.signed("/voice")
    more = {f"x-amz-meta-{n}": "x" for n in range(1000)}
    reply = door.answer(S3Request("GET", request.path, "", {**request.fields, **more}))
    assert reply.status == 403
    assert len(content(reply)) < 3000


def test_a_key_that_is_longer_than_any_is_refused():
    reply = Door().ask("/voice/" + "k" * 2000)
    assert reply.status == 400
    assert b"KeyTooLongError" in content(reply)


def test_tags_without_end_are_compared_quickly():
    begin = time.process_time()
    for tags in ('"a' * 5000, "W/" * 8000, "," * SIZE, '"",' * 5000):
        assert Door().ask("/voice/m/config.json", if_none_match=tags).status == 200
    assert time.process_time() - begin < QUICK


def test_a_listing_below_ten_thousand_directories_costs_what_it_shows():
    door = Door()
    door.stock.put({f"m/{n:05}/a": 1 for n in range(10_000)})
    begin = time.process_time()
    reply = door.ask("/voice?list-type=2&prefix=m%2F&delimiter=%2F")
    assert b"<KeyCount>1000</KeyCount>" in reply.body
    assert time.process_time() - begin < QUICK
