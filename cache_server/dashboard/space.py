"""How a node's room is shared out: the largest pipelines, the rest, what is free. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cache_server.catalogue.registry import Key
from cache_server.service.glance import Glance

WIDTH = 1000  # units of the whole bar
NAMED = 8  # pipelines that have a piece of their own


@dataclass(frozen=True, slots=True)
class Share:
    """One piece of the bar."""

    name: str
    key: Key | None  # None: no single pipeline
    look: str  # the class of the style sheet
    size: int  # bytes
    x: float  # units
    width: float  # units


@dataclass(frozen=True, slots=True)
class Space:
    """A node's room."""

    shares: Sequence[Share]
    reserved: int  # bytes that fills have booked and not brought yet
    hidden: int  # bytes of pipelines that are not there for who looks


def share_out(glances: Iterable[Glance], *, capacity: int, used: int) -> Space:
    """Return the pieces of a bar of ``capacity`` bytes, of which ``used`` are booked.

    ``glances`` are those that the reader may see; what is booked beyond them is of others.
    """
    holding = sorted((g for g in glances if g.booked), key=lambda g: (-g.booked, g.key))
    named, rest = holding[:NAMED], holding[NAMED:]
    reserved = sum(_missing(g) for g in holding)
    hidden = max(0, used - sum(g.booked for g in holding))
    pieces: list[tuple[str, Key | None, str, int]] = [
        (g.key.id, g.key, f"share-{n + 1}", g.booked) for n, g in enumerate(named)
    ]
    if rest:
        name = f"{len(rest)} smaller"
        pieces.append((name, None, "share-rest", sum(g.booked for g in rest)))
    if hidden:
        pieces.append(("not yours to see", None, "share-hidden", hidden))
    return Space(_placed(pieces, max(capacity, used, 1)), reserved, hidden)


def _missing(glance: Glance) -> int:
    fill = glance.fill
    return 0 if fill is None or fill.size is None else max(0, fill.size - fill.filled)


def _placed(pieces: Iterable[tuple[str, Key | None, str, int]], whole: int) -> list[Share]:
    shares, x = [], 0.0
    for name, key, look, size in pieces:
        width = size / whole * WIDTH
        shares.append(Share(name, key, look, size, x, width))
        x += width
    return shares
