"""The door in the words of the data plane."""

import pytest

from cache_protocol.errors import BusyError, GenerationGoneError, MalformedError, QuotaError
from cache_server.data.request import RefusedError, parse_request
from cache_server.doors.s3.dialect import S3Dialect
from tests.fakes.s3_door import Door, code, content


@pytest.fixture
def door():
    return Door()


@pytest.fixture
def dialect(door):
    return S3Dialect(door.door)


def test_a_request_from_the_wire_is_answered(door, dialect):
    signed = door.signed("/voice/m/config.json", range="bytes=0-3")
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.fields.items())
    parsed = parse_request(f"GET http://cache:8080{signed.path} HTTP/1.1\r\n{lines}\r\n".encode())
    assert parsed is not None
    assert content(dialect.answer(parsed[0], "203.0.113.9")) == b"m/co"


def test_a_write_that_the_plane_refuses_is_told_what_a_bucket_is(dialect):
    reply = dialect.refuse(RefusedError(405, MalformedError("PUT is not allowed")))
    assert b"this endpoint is read only" in reply.body


@pytest.mark.parametrize(
    ("refused", "status", "word"),
    [
        (RefusedError(405, MalformedError("PUT"), {"Allow": "GET"}), 405, "MethodNotAllowed"),
        (RefusedError(400, MalformedError("no line")), 400, "InvalidRequest"),
        (RefusedError(414, MalformedError("long")), 400, "InvalidURI"),
        (RefusedError(431, MalformedError("long")), 400, "RequestHeaderSectionTooLarge"),
        (RefusedError(501, MalformedError("coding")), 501, "NotImplemented"),
        (RefusedError(429, BusyError("many"), {"Retry-After": "1"}), 503, "SlowDown"),
        (RefusedError(429, QuotaError("many")), 503, "SlowDown"),
        (RefusedError(410, GenerationGoneError("gone")), 503, "SlowDown"),
    ],
)
def test_what_the_plane_refuses_is_said_in_s3_s_words(dialect, refused, status, word):
    reply = dialect.refuse(refused)
    assert (reply.status, code(reply)) == (status, word)
    assert reply.fields.items() >= refused.fields.items()
    assert reply.fields["Content-Length"] == str(len(reply.body))
