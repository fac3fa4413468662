"""What was seen a moment ago, shared by all who watch: one look a second, however many do."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Asked = TypeVar("Asked", bound=Hashable)
Seen = TypeVar("Seen")

FRESH = 0.9  # seconds: a stream that looks once a second sees each state at most twice


class Recent(Generic[Asked, Seen]):
    """The last look at each thing that is asked for. Safe for threads."""

    def __init__(
        self,
        look: Callable[[Asked], Seen],
        *,
        fresh: float = FRESH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``look`` returns how a thing is now; what it raises is raised, and not kept."""
        self._look = look
        self._fresh = fresh
        self._clock = clock
        self._seen: dict[Asked, tuple[float, Seen]] = {}
        self._lock = threading.Lock()

    def of(self, asked: Asked) -> Seen:
        """Return how ``asked`` was ``fresh`` seconds ago or later."""
        with self._lock:
            now = self._clock()
            # Anybody may ask for anything: what is stale is not kept.
            self._seen = {a: s for a, s in self._seen.items() if now - s[0] < self._fresh}
            if asked not in self._seen:
                self._seen[asked] = now, self._look(asked)
            return self._seen[asked][1]
