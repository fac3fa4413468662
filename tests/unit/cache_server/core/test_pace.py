from cache_server.core.pace import Pace


def test_a_step_is_paid_for_with_its_time():
    pace = Pace(100)
    assert pace.pause(50, now=10.0) == 0.5
    assert pace.pause(50, now=10.5) == 0.5


def test_a_step_that_took_longer_than_it_may_owes_nothing_for_the_time_it_took():
    pace = Pace(100)
    pace.pause(50, now=10.0)
    assert pace.pause(50, now=20.0) == 0.5


def test_what_was_not_waited_for_is_owed():
    pace = Pace(100)
    pace.pause(50, now=10.0)
    assert pace.pause(50, now=10.25) == 0.75
