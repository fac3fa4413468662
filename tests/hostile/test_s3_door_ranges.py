"""Ranges that lie outside, run backwards, or are made of numbers without end."""

import pytest

from tests.fakes.s3_door import Door, code, content, pattern

WHOLE = pattern("m/config.json", 10)


@pytest.mark.parametrize(
    ("header", "status", "body"),
    [
        ("bytes=0-99999999999999999999", 206, WHOLE),
        ("bytes=-99999999999999999999", 206, WHOLE),
        ("bytes=10-", 416, None),
        ("bytes=10-10", 416, None),
        ("bytes=99999999999999999999-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=9-5", 200, WHOLE),
        ("bytes=--5", 200, WHOLE),
        ("bytes=0x1-0x2", 200, WHOLE),
        ("bytes=" + "9" * 10_000 + "-", 200, WHOLE),
        ("bytes=\xb2-\xb3", 200, WHOLE),
        ("octets=0-1", 200, WHOLE),
        ("", 200, WHOLE),
    ],
)
def test_a_range_gives_bytes_of_the_object_or_none(header, status, body):
    reply = Door().ask("/voice/m/config.json", range=header)
    assert reply.status == status
    if body is None:
        assert code(reply) == "InvalidRange"
        assert reply.fields["Content-Range"] == "bytes */10"
    else:
        assert content(reply) == body
        assert reply.fields["Content-Length"] == str(len(body))


def test_a_refused_range_shows_little_of_what_was_sent():
    door = Door()
    door.stock.put({"m/empty": 0})
    reply = door.ask("/voice/m/empty", range="bytes=0-" + " " * 5000)
    assert reply.status == 416
    assert len(reply.body) < 1000
