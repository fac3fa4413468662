"""The few words by which an operator sees how a pipeline stands: ``cache: warm``, ``pinned``.

Pure: the caller brings the clock. Colour and markup are for who shows it; the words alone carry
the meaning.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from cache_protocol.units import show_size
from cache_server.core import chip_words
from cache_server.core.chip_words import moment
from cache_server.core.slots import SlotState
from cache_server.service.glance import Fill, Glance

_HOT = "requested within the hot window; the time is UTC"
LINK = 125_000_000  # bytes a second: 1 Gbit/s, what a re-warm is reckoned by


class Chip(NamedTuple):
    """One label."""

    kind: str  # its look: a class of the style sheet
    text: str
    title: str = ""  # more of it, where the label is short


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a fill is."""

    filled: int  # bytes
    size: int  # bytes, above 0
    left: str | None  # words: the time it takes yet

    @property
    def percent(self) -> int:
        """The share that is there, rounded down: 100 % is never said of what is not whole."""
        return 100 * self.filled // self.size

    @property
    def words(self) -> str:
        """Say it: ``4.1 GB of 16.1 GB``."""
        return f"{show_size(self.filled)} of {show_size(self.size)}"


def chips(glance: Glance) -> list[Chip]:
    """Return the labels of a pipeline, the state first."""
    return [_state(glance), *_more(glance)]


def progress(fill: Fill | None, now: datetime) -> Progress | None:
    """Return how far ``fill`` is; None where none runs or its size is not known yet."""
    if fill is None or not fill.size:
        return None
    left = None if fill.ends is None else f"{about(max((fill.ends - now).total_seconds(), 0))} left"
    return Progress(fill.filled, fill.size, left)


def _state(glance: Glance) -> Chip:
    if not glance.looked_at:
        return Chip("unknown", "cache: looking", "the node has just started and looks at its disk")
    if glance.state is SlotState.FILLING:
        return Chip("filling", f"cache: {chip_words.filling(*_how_far(glance.fill))}")
    return Chip(glance.state.value, f"cache: {glance.state.value}")


def _how_far(fill: Fill | None) -> tuple[int, int | None]:
    return (0, None) if fill is None else (fill.filled, fill.size)


def _more(glance: Glance) -> Iterator[Chip]:
    if glance.warm and glance.fill is not None:
        said = chip_words.refreshing(*_how_far(glance.fill))
        yield Chip("filling", said, "a newer generation is filling")
    if glance.pinned:
        yield Chip("pinned", chip_words.PINNED, "the policy never evicts it")
    if glance.hot and glance.hot_until is not None:
        yield Chip("hot", chip_words.hot(moment(glance.hot_until)), _HOT)
    if glance.error is not None and glance.fill is None:
        yield Chip("failed", "last fill failed", glance.error.error.title)


def span(seconds: float) -> str:
    """Return a length of time in two units at most: ``7.8 s``, ``2 min 05 s``, ``1 h 20 min``."""
    if seconds < 59.95:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def about(seconds: float) -> str:
    """Return a length of time that is only reckoned: no finer than anybody can know it."""
    whole = round(seconds)
    if whole < 60:
        return f"about {whole} s"
    return f"about {whole / 60:.0f} min" if 300 <= whole < 3600 else f"about {span(whole)}"


def count(number: int, thing: str) -> str:
    """Return ``1 file``, ``2 files``, ``1 204 files``."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}".replace(",", "\N{NO-BREAK SPACE}")


def cost(size: int) -> str:
    """Return what it takes to pull ``size`` bytes again."""
    return f"{show_size(size)}, at 1 Gbit/s {about(size / LINK)}"
