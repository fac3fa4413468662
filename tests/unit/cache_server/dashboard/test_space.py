from cache_server.core.slots import SlotState
from cache_server.dashboard.space import NAMED, WIDTH, share_out
from tests.fakes.glances import filling, glance


def test_the_largest_have_a_piece_each_and_the_rest_share_one():
    many = [glance(f"p{n:02}", booked=100 - n) for n in range(NAMED + 3)]
    space = share_out(many, capacity=2000, used=sum(g.booked for g in many))
    assert [s.name for s in space.shares] == [f"p{n:02}" for n in range(NAMED)] + ["3 smaller"]
    assert space.hidden == 0


def test_what_others_hold_is_one_piece_without_a_name():
    space = share_out([glance(booked=300)], capacity=1000, used=700)
    assert [(s.key is None, s.size, s.x) for s in space.shares] == [
        (False, 300, 0),
        (True, 400, 300),
    ]


def test_what_a_fill_has_booked_and_not_brought_is_reserved():
    going = glance(state=SlotState.FILLING, booked=1000, fill=filling(430))
    assert share_out([going], capacity=5000, used=1000).reserved == 570


def test_a_node_with_a_smaller_capacity_than_it_uses_has_a_bar_that_ends():
    space = share_out([glance(booked=3000)], capacity=1000, used=3000)
    assert space.shares[-1].x + space.shares[-1].width <= WIDTH


def test_an_empty_node_has_no_pieces():
    assert share_out([glance()], capacity=0, used=0).shares == []
