"""Strided copies as runs of bytes, against every byte counted out."""

from itertools import product
from math import prod

from hypothesis import given
from hypothesis import strategies as st

from cache_protocol.plans import MIN_RUN
from replica_agent.plans.pieces import MAX_PIECES, Look, Runs, make_up, runs


@st.composite
def looks(draw):
    """Return two looks of one shape, at memory with gaps, each in an order of its own."""
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=4)))
    item = draw(st.sampled_from([2, 64]))
    return _look(draw, shape, item), _look(draw, shape, item)


def _look(draw, shape, item):
    steps, step = [0] * len(shape), item
    for dimension in draw(st.permutations(range(len(shape)))):
        steps[dimension] = step
        step *= shape[dimension] + draw(st.sampled_from([0, 0, 1]))
    return Look(draw(st.integers(0, 200)), shape, tuple(steps), item)


def addresses(look):
    """Return the byte of every element."""
    for index in product(*map(range, look.shape)):
        yield look.begin + sum(i * step for i, step in zip(index, look.steps, strict=True))


def counted(source, place):
    pairs = zip(addresses(source), addresses(place), strict=True)
    return sorted((a + n, b + n) for a, b in pairs for n in range(source.item))


def moved(laid):
    return sorted(
        (each.begin + row * each.pitch + n, each.place + row * each.stride + n)
        for each in laid
        for row in range(each.runs)
        for n in range(each.run)
    )


@given(looks())
def test_runs_move_each_byte_that_the_copy_moves_and_no_other(both):
    laid = runs(*both)
    if laid is not None:
        assert moved(laid) == counted(*both)


@given(looks())
def test_runs_are_worth_it_and_do_not_overlap(both):
    for each in runs(*both) or ():
        assert each.run >= MIN_RUN
        assert min(each.pitch, each.stride) >= each.run


@given(looks(), st.data())
def test_the_order_of_dimensions_makes_no_difference(both, data):
    order = data.draw(st.permutations(range(len(both[0].shape))))
    turned = [
        look._replace(
            shape=tuple(look.shape[n] for n in order), steps=tuple(look.steps[n] for n in order)
        )
        for look in both
    ]
    assert runs(*turned) == runs(*both)


def plain(shape, item=2, begin=0):
    steps = tuple(item * prod(shape[n + 1 :]) for n in range(len(shape)))
    return Look(begin, shape, steps, item)


def test_a_copy_of_all_is_one_run():
    assert runs(plain((4, 8, 16)), plain((4, 8, 16), begin=7)) == [Runs(0, 7, 1024, 1, 1024, 1024)]


def test_columns_are_runs_of_one_piece():
    columns = Look(64, (4, 32), (256, 2), 2)
    assert runs(columns, plain((4, 32))) == [Runs(64, 0, 64, 4, 256, 64)]


def test_a_copy_that_turns_a_matrix_is_not_worth_it():
    assert runs(Look(0, (64, 64), (2, 128), 2), plain((64, 64))) is None


def test_a_copy_of_too_many_pieces_is_not_worth_it():
    shape = (MAX_PIECES + 1, MAX_PIECES + 1, 1)
    apart = Look(0, shape, (2 * 65 * shape[1], 65, 64), 64)
    assert runs(apart, Look(0, shape, (3 * 65 * shape[1], 65, 64), 64)) is None


def test_a_source_that_is_spread_over_many_rows_is_not_worth_it():
    assert runs(Look(0, (8, 64), (0, 2), 2), plain((8, 64))) is None


def test_a_copy_of_nothing_moves_nothing():
    assert runs(plain((0, 8)), plain((0, 8))) == []


def test_a_scalar_is_too_small():
    assert runs(plain(()), plain(())) is None


def run(place, size):
    return [Runs(0, place, size, 1, size, size)]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6), st.booleans()), max_size=6))
def test_what_makes_up_a_parameter_writes_each_byte_in_a_way_that_no_order_changes(writes):
    size = 6
    made = make_up(size, [(run(place, count), copies) for place, count, copies in writes])
    at = {
        byte: [copies for place, count, copies in writes if place <= byte < place + count]
        for byte in range(12)
    }
    lawful = all(bool(at[n]) == (n < size) for n in at) and all(
        each.count(True) <= 1 and True not in each[:-1] for each in at.values()
    )
    assert lawful or not made


def test_copies_side_by_side_make_up_a_parameter():
    assert make_up(10, [(run(4, 6), True), (run(0, 4), True)])


def test_rows_between_each_other_make_up_a_parameter():
    even, odd = (Runs(0, place, 2, 3, 2, 4) for place in (0, 2))
    assert make_up(12, [([odd], True), ([even], True)])


def test_zeros_before_a_copy_and_beside_it_make_up_a_parameter():
    assert make_up(10, [(run(0, 10), False), (run(0, 4), True)])
    assert make_up(10, [(run(0, 4), True), (run(4, 6), False)])


def test_zeros_after_a_copy_do_not():
    assert not make_up(10, [(run(0, 10), True), (run(2, 4), False)])


def test_two_copies_to_one_byte_do_not():
    assert not make_up(10, [(run(0, 6), True), (run(5, 5), True)])


def test_a_gap_does_not():
    assert not make_up(10, [(run(0, 4), True), (run(5, 5), True)])


def test_an_end_that_is_missing_does_not():
    assert not make_up(10, [(run(0, 9), True)])
