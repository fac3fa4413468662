"""The table from errors to S3's words."""

from cache_protocol import errors
from cache_server.doors.s3.refusals import CODES, Code, refusal_of
from cache_server.http.problems import STATUS


def test_every_error_that_the_api_knows_has_words_of_s3():
    assert set(CODES) == set(STATUS)


def test_a_code_stands_once_in_the_list():
    words = [code.word for code in Code]
    assert len(words) == len(set(words))


def test_who_should_come_back_is_told_a_status_that_clients_of_s3_try_again():
    for kind in CODES:
        error = kind("x")
        if error.retry is errors.Retry.NEVER:
            assert refusal_of(error).code.status < 500, kind
        elif kind not in {errors.TicketError, errors.IntegrityError, errors.SlotInUseError}:
            assert refusal_of(error).code.status in (500, 503), kind


def test_no_origin_sends_clients_away_for_a_month():
    away = errors.OriginUnavailableError("429", retry_after=30 * 24 * 3600)
    assert refusal_of(away).fields["Retry-After"] == "60"


def test_the_reason_is_in_the_message():
    assert refusal_of(errors.OriginDeniedError("it is gated")).message == "it is gated"
