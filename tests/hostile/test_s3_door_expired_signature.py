"""A URL that was handed on is used after its time, or is made to live longer."""

from datetime import timedelta

import pytest

from cache_server.doors.s3.request import S3Request
from tests.fakes.s3_door import Door, code, content

WEEK = 604800


@pytest.mark.parametrize("seconds", [1, 60, WEEK])
def test_a_url_that_ran_out_opens_nothing(seconds):
    door = Door()
    request = door.presigned("/voice/m/config.json", expires=seconds)
    assert door.answer(request).status == 200
    door.ahead = timedelta(seconds=seconds)
    reply = door.answer(request)
    assert (reply.status, code(reply)) == (403, "AccessDenied")
    assert b"Request has expired" in content(reply)


@pytest.mark.parametrize(("old", "new"), [("60", "3600"), ("60", "060"), ("60", str(WEEK))])
def test_a_life_that_nobody_signed_opens_nothing(old, new):
    door = Door()
    request = door.presigned("/voice/m/config.json", expires=60)
    query = request.query.replace(f"X-Amz-Expires={old}", f"X-Amz-Expires={new}")
    reply = door.answer(S3Request("GET", request.path, query, request.fields))
    assert (reply.status, code(reply)) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("life", ["0", "-60", "604801", "9" * 30, "1e3", "", "٦٠", "60 "])
def test_a_life_that_s3_does_not_know_is_refused(life):
    door = Door()
    request = door.presigned("/voice/m/config.json", expires=60)
    query = request.query.replace("X-Amz-Expires=60", f"X-Amz-Expires={life}")
    reply = door.answer(S3Request("GET", request.path, query, request.fields))
    assert (reply.status, code(reply)) == (400, "AuthorizationQueryParametersError")


def test_a_date_that_was_moved_is_not_signed():
    door = Door()
    request = door.presigned("/voice/m/config.json", expires=60)
    at = request.query.index("X-Amz-Date=") + len("X-Amz-Date=") + len("20260101T0")
    digit = "0" if request.query[at] != "0" else "1"
    query = request.query[:at] + digit + request.query[at + 1 :]
    reply = door.answer(S3Request("GET", request.path, query, request.fields))
    assert reply.status == 403
