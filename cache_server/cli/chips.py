"""The state of a pipeline as a few words, in colour where there is any: ``filling 43 %``.

The words are those of the dashboard. Nothing here asks the node.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.text import Text

COLOURS = {"warm": "green", "filling": "yellow", "cold": "blue", "evicting": "magenta"}
_PINNED, _HOT = "cyan", "red"


@dataclass(frozen=True, slots=True)
class Chip:
    """One of them."""

    words: str
    colour: str


def chips_of(cache: dict[str, Any]) -> list[Chip]:
    """Return what there is to say of a pipeline's ``cache``, the state first."""
    state = cache["state"]
    said = [Chip(state + _progress(cache), COLOURS.get(state, "white"))]
    if following := cache.get("next"):
        said.append(Chip("next" + _progress(following), COLOURS["filling"]))
    if cache.get("pinned"):
        said.append(Chip("pinned", _PINNED))
    if cache.get("hot") and cache.get("hot_until"):
        said.append(Chip(f"hot until {_instant(cache['hot_until'])}", _HOT))
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


def _progress(cache: dict[str, Any]) -> str:
    """Return how far a fill is, and when it ends if it goes on as it went."""
    if cache.get("state", "filling") != "filling" or not cache.get("size"):
        return ""
    share = f" {100 * cache['filled'] // cache['size']} %"
    return share + (f", done at {_instant(cache['eta'], '%H:%M:%S')}" if cache.get("eta") else "")


def _instant(text: str, form: str = "%d %b %H:%M") -> str:
    """Return an instant of the API for people, in UTC as everything here."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).strftime(f"{form} UTC")
    except ValueError:
        return text
