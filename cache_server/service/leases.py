"""Who reads which generation: holds that run out by themselves when a replica dies."""

import secrets
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from cache_protocol.errors import GenerationGoneError
from cache_protocol.manifest import Lease
from cache_server.catalogue.registry import Key

TERM = timedelta(seconds=120)  # the contract's; an agent renews at a third of it


@dataclass(slots=True)
class _Hold:
    key: Key
    generation: str
    deadline: float  # seconds on the monotonic clock


class Leases:
    """All holds of this node, in memory: after a restart replicas ask for a manifest anew."""

    def __init__(self, clock: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        # In the order in which they run out: all have one term, and the clock goes one way.
        self._holds: OrderedDict[str, _Hold] = OrderedDict()
        self._lock = threading.Lock()

    def grant(self, key: Key, generation: str) -> Lease:
        """Hold ``generation`` of ``key`` for one term."""
        lease = secrets.token_urlsafe(16)
        with self._lock:
            self._holds[lease] = _Hold(key, generation, self._monotonic() + TERM.total_seconds())
        return Lease(lease, self._clock() + TERM)

    def renew(self, lease: str) -> Lease:
        """Hold for another term.

        Raises:
            GenerationGoneError: the lease ran out or was given back.
        """
        with self._lock:
            hold = self._live().get(lease)
            if hold is None:
                raise GenerationGoneError("the lease has run out; ask for the manifest again")
            hold.deadline = self._monotonic() + TERM.total_seconds()
            self._holds.move_to_end(lease)
        return Lease(lease, self._clock() + TERM)

    def give_back(self, lease: str) -> None:
        """End a hold; one that has ended is fine."""
        with self._lock:
            self._holds.pop(lease, None)

    def end(self, key: Key) -> None:
        """End every hold on ``key``: what its readers hold is taken away from them."""
        with self._lock:
            for lease in [lease for lease, h in self._holds.items() if h.key == key]:
                del self._holds[lease]

    def has(self, lease: str) -> bool:
        """Whether ``lease`` was neither given back nor taken away; it may have run out. No lock."""
        return lease in self._holds

    @property
    def count(self) -> int:
        """How many holds there are."""
        with self._lock:
            return len(self._live())

    def readers(self, key: Key) -> int:
        """How many holds there are on any generation of ``key``."""
        with self._lock:
            return sum(h.key == key for h in self._live().values())

    def readers_by_key(self) -> Mapping[Key, int]:
        """Return how many holds there are on every pipeline that has any."""
        with self._lock:
            return Counter(h.key for h in self._live().values())

    def holder(self, lease: str) -> Key | None:
        """Return whose content ``lease`` holds; None if it does not hold any."""
        with self._lock:
            hold = self._live().get(lease)
            return None if hold is None else hold.key

    def generation(self, lease: str) -> str | None:
        """Return the generation that ``lease`` holds; None if it does not hold any."""
        with self._lock:
            hold = self._live().get(lease)
            return None if hold is None else hold.generation

    def alive(self) -> set[str]:
        """Return the leases that hold something."""
        with self._lock:
            return set(self._live())

    def held(self) -> set[str]:
        """Return the generations that somebody holds."""
        with self._lock:
            return {h.generation for h in self._live().values()}

    def _live(self) -> Mapping[str, _Hold]:
        """Return the holds that have not run out; costs what has, however many there are."""
        now = self._monotonic()
        while self._holds and next(iter(self._holds.values())).deadline <= now:
            self._holds.popitem(last=False)
        return self._holds
