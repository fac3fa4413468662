"""Which parameters a plan can lay out, from what a load was seen to do. Pure.

    source ──copies──▶ destination       a tensor of the files; a parameter of the model

A source that is read whole is fed to the model, and then writes every destination it has; a
destination that is not laid out needs all of its sources fed. So one that cannot be trusted draws
in what it is tied to, and what that is tied to, until nothing changes.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from replica_agent.plans.pieces import Look, Runs, make_up, runs


class Write(NamedTuple):
    """One write into a destination, of bytes or of zeros."""

    source: int  # whose bytes; for zeros, what was being fed when they were written
    destination: int
    zeros: bool
    taken: Look  # what of the source, counted from its first byte; ``placed`` for zeros
    placed: Look  # where in the destination


@dataclass
class Seen:
    """What a load did."""

    writes: list[Write] = field(default_factory=list)  # in order; all that may be laid out
    whole: set[int] = field(default_factory=set)  # sources that more than a copy looked at
    own: set[int] = field(default_factory=set)  # destinations that more than a copy went into


class Laid(NamedTuple):
    """A copy, as runs of bytes."""

    source: int
    destination: int
    runs: Sequence[Runs]


class Settled(NamedTuple):
    """What can be planned."""

    planned: Collection[int]  # destinations
    laid: Sequence[Laid]  # what goes into them, in the order of the load
    whole: Collection[int]  # sources that have to be read as they are


def settle(seen: Seen, sizes: Sequence[int | None]) -> Settled:
    """Return what of ``seen`` can be laid out.

    Args:
        seen: what the load did.
        sizes: bytes of each destination; None for one that cannot be laid out in any case.
    """
    whole, own = set(seen.whole), set(seen.own)
    into: dict[int, list[tuple[Sequence[Runs], bool]]] = defaultdict(list)
    laid = []
    for write in seen.writes:
        parts = runs(write.taken, write.placed)
        if parts is None:
            own.add(write.destination)
            continue
        into[write.destination].append((parts, not write.zeros))
        if not write.zeros:
            laid.append(Laid(write.source, write.destination, parts))
    own.update(n for n, size in enumerate(sizes) if size is None or not make_up(size, into[n]))
    _spread(seen.writes, whole, own)
    planned = {write.destination for write in seen.writes} - own
    return Settled(planned, [each for each in laid if each.destination in planned], whole)


def _spread(writes: Sequence[Write], whole: set[int], own: set[int]) -> None:
    """Add to ``whole`` the sources of what is in ``own``, and the other way round."""
    goes_to: dict[int, set[int]] = defaultdict(set)
    comes_from: dict[int, set[int]] = defaultdict(set)
    for write in writes:
        goes_to[write.source].add(write.destination)
        comes_from[write.destination].add(write.source)
    sources, destinations = list(whole), list(own)
    while sources or destinations:
        if sources:
            drawn = goes_to[sources.pop()] - own
            own |= drawn
            destinations += drawn
        else:
            drawn = comes_from[destinations.pop()] - whole
            whole |= drawn
            sources += drawn
