import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.errors import (
    BusyError,
    CacheError,
    GenerationGoneError,
    OriginDeniedError,
    Retry,
    TicketError,
    to_problem,
)
from cache_protocol.ranges import Span
from replica_agent.core.answers import (
    Head,
    LostError,
    check_part,
    check_whole,
    parse_head,
    refusal,
    request,
)
from replica_agent.core.urls import parse_url

TARGET = parse_url("http://node:8081/files/x?ticket=1")


def test_a_request_for_a_span_says_so_in_http():
    assert request(TARGET, Span(0, 10)) == (
        b"GET /files/x?ticket=1 HTTP/1.1\r\nHost: node:8081\r\nRange: bytes=0-9\r\n\r\n"
    )


def test_a_request_for_a_checked_copy_forbids_the_cache():
    assert b"\r\nCache-Control: no-cache\r\n" in request(TARGET, Span(0, 1), revalidate=True)


def test_a_head_is_status_headers_and_length():
    head = parse_head(b'HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\nETag: "x"')
    assert (head.status, head.length, head.headers["etag"]) == (206, 10, '"x"')


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x10",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Encoding: gzip",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n folded",
        b"HTTP/1.1 200 OK\r\nContent-Length : 1",
        b"HTTP/1.1 999 OK\r\nContent-Length: 1",
        b"HTTP/1.1 200 OK\nContent-Length: 1",
        b"ICY 200 OK\r\nContent-Length: 1",
    ],
)
def test_an_answer_of_another_form_is_not_guessed_at(head):
    with pytest.raises(LostError):
        parse_head(head)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_none(data):
    try:
        parse_head(data)
    except LostError:
        return


def test_a_part_must_be_the_very_one_that_was_asked_for():
    head = Head(206, {"content-range": "bytes 0-9/100"}, 10)
    check_part(head, Span(0, 10), 100)
    for span, size in ((Span(0, 11), 100), (Span(1, 11), 100), (Span(0, 10), 99)):
        with pytest.raises(LostError):
            check_part(head, span, size)


def test_a_part_with_another_length_than_its_range_is_refused():
    with pytest.raises(LostError):
        check_part(Head(206, {"content-range": "bytes 0-9/100"}, 9), Span(0, 10), 100)


def test_the_whole_file_is_no_answer_to_a_range():
    with pytest.raises(LostError):
        check_part(Head(200, {}, 100), Span(0, 10), 100)


def test_a_verdict_has_its_size_and_no_other():
    check_whole(Head(200, {}, 48), 48)
    with pytest.raises(LostError):
        check_whole(Head(200, {}, 49), 48)


def test_a_problem_document_becomes_its_error_with_the_nodes_word_on_retries():
    body = json.dumps(to_problem(OriginDeniedError("gated"), 503)).encode()
    refused = refusal(Head(503, {"retry-after": "3"}, len(body)), body)
    assert type(refused.error) is OriginDeniedError
    assert (str(refused.error), refused.retry, refused.wish) == ("gated", Retry.NEVER, 3.0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (403, TicketError),
        (410, GenerationGoneError),
        (429, BusyError),
        (503, BusyError),
        (500, CacheError),
    ],
)
@pytest.mark.parametrize("body", [b"", b"oops", b"[]", b'{"retry": "perhaps"}', b"[" * 20000])
def test_without_a_problem_document_the_status_decides(status, kind, body):
    refused = refusal(Head(status, {}, len(body)), body)
    assert type(refused.error) is kind
    assert refused.retry is kind.retry
