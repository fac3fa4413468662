import json

import pytest

from cache_protocol.errors import GenerationGoneError, IntegrityError, OriginUnavailableError
from cache_protocol.ranges import Span
from cache_server.data.answer import content_head, failed, problem_answer, select
from cache_server.data.request import RefusedError, Request

TAG = '"t"'


def asked(method: str = "GET", **fields: str) -> Request:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return Request(method, "/p", "", named, keep_alive=True)


def chosen(method: str = "GET", size: int = 10, **fields: str) -> tuple[int, Span]:
    selection = select(asked(method, **fields), size, TAG)
    return selection.status, selection.span


def refusal(**fields: str) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        select(asked(**fields), 10, TAG)
    return caught.value


def test_without_a_range_the_whole_file_is_sent():
    assert chosen() == (200, Span(0, 10))


def test_a_range_selects_its_bytes():
    assert chosen(range="bytes=2-3") == (206, Span(2, 4))


def test_a_head_request_ignores_the_range():
    assert chosen("HEAD", range="bytes=2-3") == (200, Span(0, 10))


def test_a_range_outside_is_told_the_size():
    refused = refusal(range="bytes=10-")
    assert (refused.status, refused.fields) == (416, {"Content-Range": "bytes */10"})


@pytest.mark.parametrize("condition", ['"other"', 'W/"t"', "Fri, 20 Nov 2026 12:00:00 GMT"])
def test_an_if_range_that_does_not_match_strongly_gets_the_whole_file(condition):
    assert chosen(range="bytes=2-3", if_range=condition) == (200, Span(0, 10))


def test_an_if_range_that_matches_gets_the_range():
    assert chosen(range="bytes=2-3", if_range=TAG) == (206, Span(2, 4))


@pytest.mark.parametrize("condition", ['"other"', 'W/"t"', "t", ""])
def test_an_if_match_without_the_strong_tag_is_refused(condition):
    assert refusal(if_match=condition).status == 412


@pytest.mark.parametrize("condition", ["*", TAG, '"other", "t"'])
def test_an_if_match_with_the_tag_is_answered(condition):
    assert chosen(if_match=condition)[0] == 200


@pytest.mark.parametrize("condition", ["*", TAG, 'W/"t"', '"a", "t"'])
def test_a_copy_that_the_reader_has_is_not_sent_again(condition):
    assert chosen(if_none_match=condition, range="bytes=2-3") == (304, Span(0, 0))


def test_an_empty_file_is_sent_whole():
    assert chosen(size=0) == (200, Span(0, 0))


def test_a_304_announces_no_content():
    head = content_head(select(asked(if_none_match="*"), 10, TAG), TAG, now=0, keep_alive=True)
    assert b"Content-Length" not in head
    assert b"ETag" in head


def test_a_head_carries_the_date_of_its_clock():
    head = content_head(select(asked(), 10, TAG), TAG, now=0, keep_alive=False)
    assert b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: close\r\n" in head


def test_a_problem_carries_the_words_of_the_error():
    answer = problem_answer(failed(IntegrityError("chunk 3")), now=0, keep_alive=True)
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (body["status"], body["code"], body["detail"]) == (503, "integrity", "chunk 3")


def test_a_generation_given_up_during_the_wait_is_gone():
    assert failed(GenerationGoneError("g")).status == 410


def test_the_wish_of_the_origin_to_wait_is_passed_on():
    error = OriginUnavailableError("busy", retry_after=1.2)
    assert failed(error).fields == {"Retry-After": "2"}
