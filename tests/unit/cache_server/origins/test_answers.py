from datetime import UTC, datetime

import pytest

from cache_protocol.errors import (
    OriginChangedError,
    OriginDeniedError,
    OriginNotFoundError,
    OriginUnavailableError,
)
from cache_protocol.ranges import Span
from cache_server.origins.answers import CaseBlind, place_in_body, refusal, retry_after

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SPAN = Span(10, 20)


def place(status: int, **headers: str) -> int:
    fields = CaseBlind((name.replace("_", "-"), value) for name, value in headers.items())
    return place_in_body(status, fields, SPAN, 100, "it")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, OriginDeniedError),
        (401, OriginDeniedError),
        (403, OriginDeniedError),
        (404, OriginNotFoundError),
        (410, OriginNotFoundError),
        (408, OriginUnavailableError),
        (412, OriginChangedError),
        (416, OriginChangedError),
        (429, OriginUnavailableError),
        (500, OriginUnavailableError),
        (503, OriginUnavailableError),
        (304, OriginUnavailableError),
    ],
)
def test_a_status_has_its_error(status: int, kind: type):
    assert type(refusal(status, {}, "it")) is kind


def test_the_origins_own_reason_is_told_on_one_line_and_short():
    said = {"X-Error-Message": "Please\r\nlog in." + "!" * 900, "X-Error-Code": "GatedRepo"}
    detail = str(refusal(403, said, "org/name"))
    assert detail.startswith("org/name: Pleaselog in.!!!")
    assert detail.endswith("GatedRepo, HTTP 403")
    assert len(detail) < 400


def test_the_origins_wish_is_carried():
    error = refusal(429, CaseBlind([("retry-after", "7")]), "it")
    assert isinstance(error, OriginUnavailableError)
    assert error.retry_after == 7.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 5 ", 5.0),
        ("Fri, 20 Nov 2026 12:01:00 GMT", 60.0),
        ("Fri, 20 Nov 2026 11:00:00 GMT", 0.0),
        ("9" * 5000, 999_999_999.0),
        ("soon", None),
        ("-1", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None):
    assert retry_after(value, NOW) == seconds


def test_a_206_of_the_span_begins_with_it():
    assert place(206, Content_Range="bytes 10-19/100") == 0


def test_a_206_of_a_file_of_unknown_size_is_taken():
    assert place(206, Content_Range="bytes 10-19/*") == 0


def test_a_200_sends_the_whole_file_and_the_span_is_inside():
    assert place(200, Content_Length="100") == 10
    assert place(200) == 10


def test_a_200_that_sends_the_part_like_radosgw_begins_with_it():
    assert place(200, Content_Range="bytes 10-19/100", Content_Length="10") == 0


@pytest.mark.parametrize(
    "part", ["bytes 0-9/100", "bytes 10-18/100", "bytes 10-29/100", "items 10-19/100", "", "x"]
)
def test_a_206_of_another_part_is_refused(part: str):
    with pytest.raises(OriginUnavailableError, match="10-19"):
        place(206, Content_Range=part)


def test_another_size_in_the_answer_is_a_change():
    with pytest.raises(OriginChangedError, match="101"):
        place(206, Content_Range="bytes 10-19/101")
    with pytest.raises(OriginChangedError, match="99"):
        place(200, Content_Length="99")


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
def test_an_encoded_body_is_refused(encoding: str):
    with pytest.raises(OriginUnavailableError, match="encoded"):
        place(206, Content_Range="bytes 10-19/100", Content_Encoding=encoding)
