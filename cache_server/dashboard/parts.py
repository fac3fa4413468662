"""The parts of a page that change while it is looked at, and which of them have changed. Pure."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cache_server.http.streams import Event


@dataclass(frozen=True, slots=True)
class Part:
    """One element of a page."""

    id: str  # of the element
    html: str  # the whole element
    mark: str | None = None  # it is sent anew when this changes; None: when ``html`` does
    within: str | None = None  # the part that it stands in

    @property
    def state(self) -> str:
        """What is compared."""
        return self.html if self.mark is None else self.mark


def changed(seen: dict[str, str], parts: Iterable[Part]) -> list[Part]:
    """Return the parts that are not as in ``seen``, and note them there.

    A part within one that is sent anew goes with it.
    """
    parts = list(parts)
    new = [part for part in parts if seen.get(part.id) != part.state]
    seen.clear()
    seen.update((part.id, part.state) for part in parts)
    sent = {part.id for part in new}
    return [part for part in new if part.within not in sent]


def watch(look: Callable[[], Sequence[Part]]) -> Callable[[], list[Event]]:
    """Return a look for a stream: the elements that have changed, in one event."""
    seen: dict[str, str] = {}

    def changes() -> list[Event]:
        new = changed(seen, look())
        return [Event("parts", json.dumps({part.id: part.html for part in new}))] if new else []

    return changes
