from hypothesis import given
from hypothesis import strategies as st

from cache_server.core.disk_health import DiskHealth


def test_a_disk_is_well_until_something_is_known_against_it():
    assert DiskHealth(10).sickness(0) is None


def test_an_error_makes_it_sick_until_a_probe_that_began_later_comes_back():
    health = DiskHealth(10)
    health.begin_probe(1)
    health.failed("EIO", 2)
    health.end_probe(None, 3)
    assert health.sickness(3) == "EIO"
    health.begin_probe(4)
    health.end_probe(None, 5)
    assert health.sickness(5) is None


def test_a_probe_that_fails_makes_it_sick():
    health = DiskHealth(10)
    health.begin_probe(1)
    health.end_probe("EROFS", 2)
    assert health.sickness(2) == "EROFS"


def test_a_probe_that_does_not_come_back_makes_it_sick_and_well_again_when_it_does():
    health = DiskHealth(10)
    health.begin_probe(1)
    assert health.sickness(11) is None
    assert health.sickness(12) == "the disk has not answered for 11 s"
    health.end_probe(None, 13)
    assert health.sickness(13) is None


@given(st.lists(st.sampled_from(["fail", "good", "bad"]), max_size=20))
def test_it_is_sick_exactly_when_the_last_word_was_a_bad_one(words):
    health = DiskHealth(10)
    for now, word in enumerate(words):
        if word == "fail":
            health.failed("EIO", now)
        else:
            health.begin_probe(now)
            health.end_probe(None if word == "good" else "EIO", now)
    expected = bool(words) and words[-1] != "good"
    assert (health.sickness(len(words)) is not None) == expected
