"""Where a scrub is and what comes next, in a form that survives a restart.

Generations are walked in the order of their ids, which are digests: the order means nothing, but
it stays the same, so that a pass goes on after a restart at the place where it was. What is
filled meanwhile is new and was checked by its fill. Pure.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Place:
    """The next chunk to look at."""

    generation: str = ""  # the empty text comes before every id
    file: int = 0  # index in the generation
    chunk: int = 0


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over all generations, or over those of one pipeline."""

    pipeline: str | None = None  # None: all
    place: Place = field(default_factory=Place)
    checked: int = 0  # bytes
    wrong: int = 0  # chunks and files that were not what they should be
    unrepaired: int = 0  # of these, those that could not be brought anew

    def covers(self, pipeline: str | None) -> bool:
        """Whether this pass looks at all of ``pipeline``, None: at everything."""
        return self.pipeline is None or self.pipeline == pipeline

    def moved(self, place: Place, size: int = 0) -> Self:
        """Return the pass after ``size`` bytes, with ``place`` as what is next."""
        return replace(self, place=place, checked=self.checked + size)

    def view(self) -> dict[str, Any]:
        """Return what a caller is shown of it."""
        return {
            "pipeline": self.pipeline,
            "checked": self.checked,
            "wrong": self.wrong,
            "unrepaired": self.unrepaired,
        }


def following(ids: Iterable[str], place: Place) -> str | None:
    """Return the first id from ``place`` on; None at the end of the pass."""
    return min((i for i in ids if i >= place.generation), default=None)


def beyond(generation: str) -> Place:
    """Return the place after all of ``generation``."""
    return Place(generation + "\0")


def dump_passes(passes: Iterable[Pass]) -> dict[str, Any]:
    """Return passes, the running one first, as JSON values."""
    return {"passes": [asdict(each) for each in passes]}


def load_passes(fields: Mapping[str, Any]) -> list[Pass]:
    """Return what ``dump_passes`` wrote; KeyError or TypeError when it did not."""
    return [Pass(**{**each, "place": Place(**each["place"])}) for each in fields["passes"]]
