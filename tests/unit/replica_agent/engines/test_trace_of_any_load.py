"""Loads made up at random: what a plan says of one is never wrong, or there is no plan."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.traced import Checkpoint, Net

SIDE = 32  # of every tensor and parameter
ALL, LOW, HIGH = (0, SIDE), (0, 16), (16, SIDE)
_edges = st.sampled_from([ALL, LOW, HIGH, (8, 24), (0, 0)])
_regions = st.tuples(_edges, _edges)
_copies = st.tuples(
    st.just("copy"),
    st.sampled_from(["plain"] * 8 + ["turned", "doubled", "halved", "through"]),
    _regions,  # of the tensor
    st.integers(0, 2),  # the parameter
    st.tuples(st.sampled_from([0, 8, 16]), st.sampled_from([0, 16])),  # where in it
)
_odd = st.tuples(
    st.sampled_from(["zero", "zero", "fill", "add", "scale", "tie", "hold", "look"]),
    st.just("plain"),
    _regions,
    st.integers(0, 2),
    st.tuples(st.sampled_from([0, 8, 16]), st.sampled_from([0, 16])),
)


def _tiles(number):
    """Return ways to write all of a parameter."""
    halves = [("copy", "plain", (part, ALL), number, (part[0], 0)) for part in (LOW, HIGH)]
    columns = [("copy", "plain", (ALL, part), number, (0, part[0])) for part in (HIGH, LOW)]
    padded = [halves[0], ("zero", "plain", (HIGH, ALL), number, (16, 0))]
    whole = [("copy", "plain", (ALL, ALL), number, (0, 0))]
    return st.sampled_from([halves, columns, padded, whole, whole])


def _around(tiles):
    """Return loads that do ``tiles``, and sometimes something else before or after."""
    more = st.lists(st.one_of(_copies, _odd), max_size=1)
    often = st.one_of(st.just([]), st.just([]), more)
    return st.tuples(often, tiles, often).map(lambda parts: [*parts[0], *parts[1], *parts[2]])


_loads = st.tuples(*(_around(_tiles(number)) for number in range(3)))  # by tensor


def cut(tensor, region):
    (top, bottom), (left, right) = region
    return tensor[top:bottom, left:right]


def prepare(tensor, how):
    if how == "turned":
        return tensor.t()
    if how == "doubled":
        return tensor * 2
    if how == "halved":
        return tensor.half().float()
    if how == "through":
        room = torch.empty_like(tensor)
        room.copy_(tensor)
        return room
    return tensor


def step(net, tensor, kind, how, region, number, corner):
    """Do one thing to the parameter ``number``."""
    parameter = getattr(net, f"p{number}").data
    part = prepare(cut(tensor, region), how)
    place = parameter[corner[0] :, corner[1] :][: part.shape[0], : part.shape[1]]
    part = part[: place.shape[0], : place.shape[1]]
    if kind == "copy":
        place.copy_(part)
    elif kind in ("zero", "fill"):
        place.fill_(0 if kind == "zero" else 3)
    elif kind == "add":
        place.add_(part)
    elif kind == "scale":
        place.mul_(2)
    elif kind == "tie":
        place.copy_(cut(net.p0.data, ((0, place.shape[0]), (0, place.shape[1]))))
    elif kind == "hold":
        net.held = part
    elif float(parameter[0, 0]) != 9.0:
        place.zero_()


@settings(max_examples=100)
@given(_loads)
def test_a_plan_of_any_load_is_right_or_there_is_none(load):
    def take(net, name, tensor):
        for each in load[int(name[1])]:
            step(net, tensor, *each)

    torch.manual_seed(0)
    checkpoint = Checkpoint(**{f"t{n}": torch.rand(SIDE, SIDE) for n in range(3)})
    checkpoint.trace(Net(take, **{f"p{n}": (SIDE, SIDE) for n in range(3)}))
