"""What can be laid out, of what a load was seen to do."""

from replica_agent.plans.pieces import Look
from replica_agent.plans.settle import Seen, Write, settle

SIZE = 128


def copy(source, destination, *, begin=0, size=SIZE):
    look = Look(0, (size,), (1,), 1)
    return Write(source, destination, False, look, look._replace(begin=begin))


def zeros(source, destination, *, begin=0, size=SIZE):
    look = Look(begin, (size,), (1,), 1)
    return Write(source, destination, True, look, look)


def test_a_copy_of_all_is_laid_out():
    found = settle(Seen([copy(0, 0)]), [SIZE])
    assert found.planned == {0}
    assert [(each.source, each.destination) for each in found.laid] == [(0, 0)]
    assert not found.whole


def test_copies_are_laid_out_in_the_order_of_the_load():
    found = settle(Seen([copy(2, 0), copy(0, 1), copy(1, 2)]), [SIZE] * 3)
    assert [each.source for each in found.laid] == [2, 0, 1]


def test_what_a_tensor_that_is_read_whole_goes_to_is_the_engines_own():
    found = settle(Seen([copy(0, 0)], whole={0}), [SIZE])
    assert not found.planned
    assert found.whole == {0}


def test_what_is_the_engines_own_needs_its_tensors_whole():
    found = settle(Seen([copy(0, 0)], own={0}), [SIZE])
    assert not found.planned
    assert found.whole == {0}


def test_what_cannot_be_trusted_draws_in_all_that_it_is_tied_to():
    chain = [copy(0, 0), copy(1, 0, begin=SIZE), copy(1, 1), copy(2, 1, begin=SIZE), copy(3, 2)]
    found = settle(Seen(chain, whole={0}), [2 * SIZE, 2 * SIZE, SIZE])
    assert found.planned == {2}
    assert found.whole == {0, 1, 2}


def test_a_parameter_that_is_not_written_all_over_is_the_engines_own():
    found = settle(Seen([copy(0, 0)]), [SIZE + 1])
    assert not found.planned
    assert found.whole == {0}


def test_one_that_cannot_be_laid_out_is_the_engines_own():
    assert settle(Seen([copy(0, 0)]), [None]).whole == {0}


def test_a_copy_of_small_runs_is_read_whole():
    assert settle(Seen([copy(0, 0, size=8)]), [8]).whole == {0}


def test_zeros_fill_what_copies_leave():
    found = settle(Seen([copy(0, 0), zeros(0, 0, begin=SIZE)]), [2 * SIZE])
    assert found.planned == {0}
    assert len(found.laid) == 1


def test_a_parameter_of_zeros_alone_is_laid_out():
    assert settle(Seen([zeros(0, 0)]), [SIZE]).planned == {0}


def test_a_parameter_that_is_zeroed_with_a_tensor_that_is_fed_is_zeroed_again():
    found = settle(Seen([copy(0, 0), zeros(0, 1), copy(1, 1)], whole={0}), [SIZE, SIZE])
    assert not found.planned
    assert found.whole == {0, 1}
