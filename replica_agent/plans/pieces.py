"""From a strided copy to runs of bytes, and whether runs make up a parameter. Pure.

    source   one tensor of a file     [r0 ......|r1 ......|r2 ......]     columns 2..4 of each row
                                         ==        ==        ==           run, runs, pitch
    place    the rank's parameter     [====|====|====]                    stride

A copy says only which byte goes where, so that the order of its dimensions is free: they are
sorted, joined where both sides allow it, and one that is left becomes the runs of a piece. The
same copy always gives the same pieces.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, product
from math import prod
from typing import NamedTuple

from cache_protocol.plans import MIN_RUN

MAX_PIECES = 4096  # of one copy


class Look(NamedTuple):
    """How a tensor looks at bytes."""

    begin: int  # byte of its first element
    shape: tuple[int, ...]  # elements, outermost dimension first
    steps: tuple[int, ...]  # bytes from one element to the next one, for each dimension
    item: int  # bytes of an element


class Runs(NamedTuple):
    """``runs`` runs of ``run`` bytes each."""

    begin: int  # byte of the source where the first one begins
    place: int  # byte of the destination where it goes
    run: int
    runs: int
    pitch: int  # bytes from one run's beginning to the next one's, in the source
    stride: int  # the same, in the destination


class _Dimension(NamedTuple):
    stride: int  # bytes, in the destination
    pitch: int  # bytes, in the source
    extent: int  # elements


def runs(source: Look, place: Look) -> list[Runs] | None:
    """Return the bytes that a copy from ``source`` to ``place`` moves; both have one shape.

    None where they are too small or too many to be worth it.
    """
    if 0 in place.shape:
        return []
    run, dimensions = _joined(source, place)
    if run < MIN_RUN:
        return None
    if not dimensions:
        return [Runs(source.begin, place.begin, run, 1, run, run)]
    fit = [each for each in dimensions if min(each.pitch, each.stride) >= run]
    if not fit:
        return None
    inner = max(fit, key=lambda each: each.extent)
    dimensions.remove(inner)
    if prod(each.extent for each in dimensions) > MAX_PIECES:
        return None
    return [
        Runs(source.begin + begin, place.begin + to, run, inner.extent, inner.pitch, inner.stride)
        for begin, to in _starts(dimensions)
    ]


def spans(laid: Iterable[Runs]) -> Iterator[tuple[int, int]]:
    """Yield where the bytes go: begin and end, half open; runs that meet are one."""
    for each in laid:
        if each.stride == each.run:
            yield each.place, each.place + each.run * each.runs
        else:
            for number in range(each.runs):
                begin = each.place + number * each.stride
                yield begin, begin + each.run


def make_up(size: int, writes: Sequence[tuple[Sequence[Runs], bool]]) -> bool:
    """Return whether ``writes``, in this order, say what each byte of a parameter holds.

    Each has its bytes, and whether it copies; else it writes zeros, which is what memory holds
    that nobody wrote. A byte that two copies go to, or zeros after a copy, would depend on the
    order, and then the answer is no; as it is where anything is left out.
    """
    first = next((n for n, (_, copies) in enumerate(writes) if copies), len(writes))
    early = sorted(span for laid, _ in writes[:first] for span in spans(laid))
    apart = sorted(span for laid, _ in writes[first:] for span in spans(laid))
    if any(end > begin for (_, end), (begin, _) in pairwise(apart)):
        return False
    reached = 0
    for begin, end in sorted([*early, *apart]):
        if begin > reached:
            return False
        reached = max(reached, end)
    return reached == size


def _joined(source: Look, place: Look) -> tuple[int, list[_Dimension]]:
    """Return the bytes of a run, and the dimensions around it, innermost first."""
    run, around = place.item, list[_Dimension]()
    dimensions = map(_Dimension, place.steps, source.steps, place.shape)
    for each in sorted(each for each in dimensions if each.extent != 1):
        if around and _follows(each, last := around[-1]):
            around[-1] = last._replace(extent=last.extent * each.extent)
        elif not around and each.pitch == each.stride == run:
            run *= each.extent
        else:
            around.append(each)
    return run, around


def _follows(outer: _Dimension, inner: _Dimension) -> bool:
    """Return whether a step of ``outer`` is where ``inner`` ends, on both sides."""
    steps = (inner.stride * inner.extent, inner.pitch * inner.extent)
    return (outer.stride, outer.pitch) == steps


def _starts(dimensions: Sequence[_Dimension]) -> Iterator[tuple[int, int]]:
    """Yield where each piece begins, in the source and in the destination."""
    outermost = dimensions[::-1]
    for steps in product(*(range(each.extent) for each in outermost)):
        pairs = list(zip(steps, outermost, strict=True))
        yield sum(n * each.pitch for n, each in pairs), sum(n * each.stride for n, each in pairs)
