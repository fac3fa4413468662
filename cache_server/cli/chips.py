"""The state of a pipeline as a few words, in colour where there is any: ``filling 43 %``.

The words are ``core.chip_words``, as on the dashboard. Nothing here asks the node.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.text import Text

from cache_server.core.chip_words import PINNED, filling, hot, moment, refreshing

COLOURS = {"warm": "green", "filling": "yellow", "cold": "blue", "evicting": "magenta"}
_PINNED, _HOT = "cyan", "red"


@dataclass(frozen=True, slots=True)
class Chip:
    """One of them."""

    words: str
    colour: str


def chips_of(cache: dict[str, Any]) -> list[Chip]:
    """Return what there is to say of a pipeline's ``cache``, the state first."""
    said = [Chip(_state(cache), COLOURS.get(cache["state"], "white"))]
    if following := cache.get("next"):
        said.append(Chip(refreshing(*_how_far(following)) + _end(following), COLOURS["filling"]))
    if cache.get("pinned"):
        said.append(Chip(PINNED, _PINNED))
    if cache.get("hot") and cache.get("hot_until"):
        said.append(Chip(hot(_instant(cache["hot_until"], moment)), _HOT))
    return said


def chip_words(cache: dict[str, Any]) -> str:
    """Return all of it without colour."""
    return ", ".join(chip.words for chip in chips_of(cache))


class Chips:
    """All chips of a pipeline; rich asks it how it looks on the console at hand."""

    def __init__(self, cache: dict[str, Any]) -> None:
        self._cache = cache

    def __rich_console__(self, console: Console, _options: ConsoleOptions) -> Iterator[Text]:
        """Yield it."""
        yield self.text(console)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Return how wide that is."""
        return Measurement.get(console, options, self.text(console))

    def text(self, console: Console) -> Text:
        """Return it as ``console`` shows it: boxes where there are colours, else words."""
        if console.color_system is None or console.no_color:
            return Text(chip_words(self._cache))
        boxes = [Text(f" {c.words} ", style=f"black on {c.colour}") for c in chips_of(self._cache)]
        return Text(" ").join(boxes)


def _state(cache: dict[str, Any]) -> str:
    if cache["state"] != "filling":
        return str(cache["state"])
    return filling(*_how_far(cache)) + _end(cache)


def _how_far(fill: dict[str, Any]) -> tuple[int, int | None]:
    return (fill["filled"], fill["size"]) if "filled" in fill else (0, None)


def _end(fill: dict[str, Any]) -> str:
    """Return when a fill ends, if it goes on as it went."""
    eta = fill.get("eta")
    return f", done at {_instant(eta, '{:%H:%M:%S}'.format)}" if eta else ""


def _instant(text: str, told: Callable[[datetime], str]) -> str:
    """Return an instant of the API for people, in UTC as everything here."""
    try:
        return f"{told(datetime.fromisoformat(text).astimezone(UTC))} UTC"
    except ValueError:
        return text
