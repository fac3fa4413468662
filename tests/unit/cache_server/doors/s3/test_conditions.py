"""Which bytes of an object a request wants."""

from datetime import UTC, datetime

import pytest

from cache_protocol.ranges import Span
from cache_server.doors.s3.conditions import Shape, Wanted, wanted
from cache_server.doors.s3.refusals import Code, S3Error

THEN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
BEFORE, AT, AFTER = (f"Mon, 04 May 2026 03:02:0{n} GMT" for n in (0, 1, 2))
ETAG = '"0123-4"'
OBJECT = Shape(100, ETAG, THEN)
EMPTY = Shape(0, ETAG, THEN)
WHOLE, KNOWN = Wanted(200, Span(0, 100)), Wanted(304, Span(0, 0))


def answer(shape: Shape = OBJECT, part: str | None = None, **fields: str) -> Wanted:
    return wanted({n.replace("_", "-"): v for n, v in fields.items()}, part, shape)


def refusal(shape: Shape = OBJECT, part: str | None = None, **fields: str) -> S3Error:
    with pytest.raises(S3Error) as refused:
        answer(shape, part, **fields)
    return refused.value


@pytest.mark.parametrize(
    ("text", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=90-", 90, 100),
        ("bytes=90-1000", 90, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-1000", 0, 100),
        ("bytes=0-18446744073709551615", 0, 100),
    ],
)
def test_a_range_is_closed_open_or_a_suffix(text, begin, end):
    assert answer(range=text) == Wanted(206, Span(begin, end))


@pytest.mark.parametrize("text", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_beyond_the_object_is_refused_with_its_size(text):
    refused = refusal(range=text)
    assert refused.code is Code.INVALID_RANGE
    assert refused.fields == {"Content-Range": "bytes */100"}
    assert refused.details["ActualObjectSize"] == "100"


@pytest.mark.parametrize("text", ["bytes=0-1,4-5", "lines=1-2", "bytes=5-1", "bytes=-", "x"])
def test_a_range_that_s3_does_not_know_is_the_whole_object(text):
    assert answer(range=text) == WHOLE


def test_an_empty_object_has_no_range():
    assert refusal(EMPTY, range="bytes=0-").code is Code.INVALID_RANGE
    assert answer(EMPTY) == Wanted(200, Span(0, 0))


@pytest.mark.parametrize("tags", [ETAG, "0123-4", "*", f'"other", {ETAG}'])
def test_the_tag_that_a_client_has_matches(tags):
    assert answer(if_match=tags, range="bytes=0-0").status == 206
    assert answer(if_none_match=tags) == KNOWN


@pytest.mark.parametrize("tags", ['"other"', "other", f"W/{ETAG}", ""])
def test_a_tag_of_something_else_does_not_match(tags):
    assert refusal(if_match=tags).code is Code.PRECONDITION_FAILED


def test_a_weak_tag_is_as_good_where_nothing_is_put_together():
    assert answer(if_none_match=f"W/{ETAG}") == KNOWN


@pytest.mark.parametrize(("since", "status"), [(BEFORE, 200), (AT, 304), (AFTER, 304)])
def test_what_was_not_modified_since_is_not_sent(since, status):
    assert answer(if_modified_since=since).status == status


def test_what_was_modified_since_is_refused_where_it_must_not_be():
    assert refusal(if_unmodified_since=BEFORE).code is Code.PRECONDITION_FAILED
    assert answer(if_unmodified_since=AT) == WHOLE


def test_tags_count_before_dates():
    assert answer(if_match=ETAG, if_unmodified_since=BEFORE) == WHOLE
    assert answer(if_none_match='"other"', if_modified_since=AFTER) == WHOLE


def test_a_date_that_is_none_does_not_count():
    for text in ("soon", "", "Mon, 99 May 2026 03:02:00 GMT"):
        assert answer(if_modified_since=text) == WHOLE


@pytest.mark.parametrize("known", [ETAG, AT])
def test_a_range_is_sent_to_who_has_the_rest_of_it(known):
    assert answer(if_range=known, range="bytes=5-") == Wanted(206, Span(5, 100))


@pytest.mark.parametrize("known", ['"other"', f"W/{ETAG}", BEFORE, "soon"])
def test_the_whole_is_sent_to_who_has_a_part_of_something_else(known):
    assert answer(if_range=known, range="bytes=5-") == WHOLE


def test_the_only_part_is_all_of_it():
    assert answer(part="1") == Wanted(206, Span(0, 100))
    assert answer(EMPTY, part="1") == Wanted(200, Span(0, 0))


def test_a_part_and_a_range_are_too_much():
    assert refusal(part="1", range="bytes=0-0").code is Code.INVALID_REQUEST
