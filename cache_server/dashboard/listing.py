"""Which of thousands of pipelines a page shows: searched, filtered, sorted, cut. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode

from cache_server.core.slots import SlotState
from cache_server.service.glance import Glance

PAGE = 24  # cards: whole rows of two, three and four


class Only(StrEnum):
    """What a list can be narrowed to."""

    ALL = "all"
    WARM = "warm"
    FILLING = "filling"
    COLD = "cold"
    PINNED = "pinned"
    HOT = "hot"
    FAILED = "failed"


class Sort(StrEnum):
    """What comes first."""

    ACTIVITY = "activity"  # what happens now, then what went wrong, then the last request
    NAME = "name"
    SIZE = "size"


FITS: dict[Only, Callable[[Glance], bool]] = {
    Only.ALL: lambda _: True,
    Only.WARM: lambda g: g.warm,
    Only.FILLING: lambda g: g.fill is not None,
    Only.COLD: lambda g: g.state is SlotState.COLD,
    Only.PINNED: lambda g: g.pinned,
    Only.HOT: lambda g: g.hot,
    Only.FAILED: lambda g: g.error is not None,
}


_NAMES = {"text": "q"}  # in a URL, where it is not the field's own


@dataclass(frozen=True, slots=True)
class Query:
    """What somebody wants to see."""

    text: str = ""  # every word of it is in the name, a model or a source
    only: Only = Only.ALL
    sort: Sort = Sort.ACTIVITY
    page: int = 1
    tenant: str = ""  # where an admin looks at one alone

    def link(self, **changed: Any) -> str:  # noqa: ANN401 - any field
        """Return it as the query of a URL, with ``changed`` fields; a change begins at page 1."""
        query = replace(self, **({"page": 1} | changed))
        said = [(field, getattr(query, field.name)) for field in fields(query)]
        given = [(_NAMES.get(f.name, f.name), str(v)) for f, v in said if v != f.default]
        return f"?{urlencode(given)}" if given else "?"


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of what fits."""

    shown: Sequence[Glance]
    found: int  # that fit, on all pages
    page: int
    pages: int  # 1 at least
    counts: Mapping[Only, int]  # of what fits the text


def select(glances: Iterable[Glance], query: Query) -> Listing:
    """Return the page of ``glances`` that ``query`` asks for; the last one if it asks beyond."""
    words = query.text.casefold().split()
    fitting = [g for g in glances if not words or _has(g, words)]
    counts = Counter(only for g in fitting for only, fits in FITS.items() if fits(g))
    wanted = sorted(filter(FITS[query.only], fitting), key=_ORDER[query.sort])
    pages = max(1, -(-len(wanted) // PAGE))
    page = min(max(query.page, 1), pages)
    return Listing(wanted[(page - 1) * PAGE : page * PAGE], len(wanted), page, pages, counts)


def _has(glance: Glance, words: Sequence[str]) -> bool:
    texts = [*glance.key, *(text for m in glance.models for text in (m.name, m.source))]
    text = "\n".join(texts).casefold()
    return all(word in text for word in words)


def _by_activity(glance: Glance) -> tuple[int, float, str, str]:
    asked = glance.asked.timestamp() if glance.asked is not None else 0.0
    rank = 0 if _happens(glance) else 1 if glance.error is not None else 2
    return rank, -asked if rank else 0.0, glance.key.id, glance.key.tenant


def _happens(glance: Glance) -> bool:
    return glance.fill is not None or glance.state is SlotState.EVICTING


_ORDER: dict[Sort, Callable[[Glance], Any]] = {
    Sort.ACTIVITY: _by_activity,
    Sort.NAME: lambda g: (g.key.id, g.key.tenant),
    Sort.SIZE: lambda g: (-(g.size or 0), g.key.id, g.key.tenant),
}
