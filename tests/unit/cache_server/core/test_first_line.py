"""Where a request leads, by its first bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.first_line import MOST, leads_under

OURS = [
    b"GET /s3 HTTP/1.1\r\n",
    b"GET /s3/ HTTP/1.1\r\n",
    b"GET /s3?x-id=ListBuckets HTTP/1.1\r\n",
    b"HEAD /s3/voice/llm/a.safetensors HTTP/1.1\r\n",
    b"GET http://cache:8080/s3/voice HTTP/1.1\r\n",
    b"GET HTTPS://cache/s3?list-type=2 HTTP/1.1\r\n",
    b"\r\nGET /s3/voice HTTP/1.1\r\n",
    b"PUT /s3/voice/llm/a HTTP/1.1\r\n",
]
OTHERS = [
    b"GET / HTTP/1.1\r\n",
    b"GET /s3x/voice HTTP/1.1\r\n",
    b"GET /S3/voice HTTP/1.1\r\n",
    b"GET /v1/status?next=/s3/voice HTTP/1.1\r\n",
    b"GET //s3/voice HTTP/1.1\r\n",
    b"GET http://cache:8080 HTTP/1.1\r\n",
    b"GET http://cache:8080?/s3/ HTTP/1.1\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"GET  /s3/voice HTTP/1.1\r\n",
    b"GET voice HTTP/1.1\r\nX: /s3/\r\n",
]


@pytest.mark.parametrize("line", OURS)
def test_a_path_under_the_prefix_leads_there(line):
    assert leads_under(b"/s3", line) is True


@pytest.mark.parametrize("line", OTHERS)
def test_any_other_does_not(line):
    assert leads_under(b"/s3", line) is False


@pytest.mark.parametrize("line", OURS + OTHERS)
def test_as_long_as_the_path_may_still_become_either_nothing_is_said(line):
    told = [leads_under(b"/s3", line[:size]) for size in range(len(line) + 1)]
    unknown = told.count(None)
    assert told[:unknown] == [None] * unknown
    assert set(told[unknown:]) == {leads_under(b"/s3", line)}


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00", b"\xff" * 100, b"a" * 2 * MOST])
def test_nothing_is_said_of_what_is_no_request(data):
    assert leads_under(b"/s3", data) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_judged_without_an_error(data):
    assert leads_under(b"/s3", data) in (True, False, None)
