"""A signed request is kept and sent again much later, or is signed for a time to come."""

from datetime import timedelta

import pytest

from tests.fakes.s3_door import Door, code, content

QUARTER = timedelta(minutes=15)


@pytest.mark.parametrize("ahead", [QUARTER * 2, -QUARTER * 2, timedelta(days=400)])
def test_a_request_of_another_time_is_refused_with_both_times(ahead):
    door = Door()
    door.ahead = ahead
    reply = door.ask("/voice/m/config.json")
    assert (reply.status, code(reply)) == (403, "RequestTimeTooSkewed")
    assert b"<ServerTime>" in content(reply)
    assert b"<MaxAllowedSkewMilliseconds>900000<" in content(reply)


@pytest.mark.parametrize("ahead", [timedelta(minutes=14), timedelta(minutes=-14)])
def test_clocks_that_differ_a_little_do_no_harm(ahead):
    door = Door()
    door.ahead = ahead
    assert door.ask("/voice/m/config.json").status == 200


def test_a_url_for_a_time_to_come_is_not_good_yet():
    door = Door()
    door.ahead = -QUARTER * 2
    reply = door.answer(door.presigned("/voice/m/config.json", expires=7200))
    assert (reply.status, code(reply)) == (403, "AccessDenied")
