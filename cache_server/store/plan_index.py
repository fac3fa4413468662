"""What plans a generation has, in memory: which, how large, and which of them goes next.

Pure. Who holds one looks at the disk once, and tells of what is written, used and deleted since:
a write that looked at every plan again took 25 ms where there are 500.
"""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from typing import NamedTuple

from cache_protocol.plans import Key

MAX_PLANS = 64  # of one model: an engine of 8 ranks in 8 versions


class Record(NamedTuple):
    """What is known of a plan without its document."""

    key: Key
    fingerprint: str  # sha256 of the document, hex
    size: int  # bytes of the document
    stored: datetime  # UTC


class Name(NamedTuple):
    """Which plan of a generation."""

    model: str
    digest: str  # of its key


class PlanIndex:
    """The plans of one generation. For one thread at a time; ``use`` may come from any."""

    def __init__(self) -> None:
        """Know of none."""
        self._models: dict[str, dict[str, Record]] = defaultdict(dict)  # by name, by digest
        self._turn = count(1)
        self._used: dict[Name, int] = {}  # the higher, the later; since the start of the node

    def add(self, name: Name, record: Record) -> None:
        """Note that there is such a plan, in the place of another one of its name."""
        self._models[name.model][name.digest] = record

    def use(self, name: Name) -> None:
        """Note that a plan is of use now."""
        self._used[name] = next(self._turn)

    def drop(self, name: Name) -> None:
        """Note that there is no such plan."""
        self._models[name.model].pop(name.digest, None)
        self._used.pop(name, None)

    def surplus(self, newest: Name, limit: int) -> Iterator[Name]:
        """Yield what is to go so that all documents take ``limit`` bytes, and no model too many.

        What was used the longest ago first, what nobody used before it, as it was written; never
        ``newest``, and of other models none for their number.
        """
        self._forget_strangers()
        size = sum(record.size for _, record in self._all())
        many = len(self._models[newest.model]) - MAX_PLANS
        if size <= limit and many <= 0:
            return
        for name, record in sorted(self._all(), key=self._age):
            beside = name.model == newest.model
            if name != newest and (size > limit or (beside and many > 0)):
                yield name
                size -= record.size
                many -= beside

    def _forget_strangers(self) -> None:
        """Forget the use of what is not there: a reader may tell of it after it was dropped."""
        for name in list(self._used):
            if name.digest not in self._models.get(name.model, ()):
                self._used.pop(name, None)

    def _all(self) -> Iterator[tuple[Name, Record]]:
        for model, plans in self._models.items():
            for digest, record in plans.items():
                yield Name(model, digest), record

    def _age(self, each: tuple[Name, Record]) -> tuple[int, datetime]:
        name, record = each
        return self._used.get(name, 0), record.stored
