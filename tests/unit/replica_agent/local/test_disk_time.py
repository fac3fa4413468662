import pytest

from replica_agent.local.disk_time import AbandonedError, DiskTime


def test_who_does_not_read_is_not_given_up():
    assert not DiskTime().give_up_after(0)


def test_a_read_that_takes_too_long_costs_the_thread_and_says_so_at_its_end():
    disk = DiskTime()
    with pytest.raises(AbandonedError), disk.reading():
        assert (disk.give_up_after(60), disk.give_up_after(0)) == (False, True)


def test_a_read_that_ended_in_time_is_not_counted_against_the_next():
    disk = DiskTime()
    for _ in range(2):
        with disk.reading():
            assert not disk.give_up_after(60)
    assert not disk.give_up_after(0)


def test_who_was_given_up_stays_so():
    disk = DiskTime()
    with pytest.raises(AbandonedError), disk.reading():
        disk.give_up_after(0)
    assert disk.give_up_after(60)


def test_being_given_up_outweighs_the_error_of_the_read():
    disk = DiskTime()

    def read():
        disk.give_up_after(0)
        raise OSError("too late")

    with pytest.raises(AbandonedError), disk.reading():
        read()
