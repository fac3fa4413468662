"""Glances at all pipelines, shared by everybody who watches: one look a second, however many do."""

import threading
import time
from collections.abc import Callable, Iterable

from cache_server.service.glance import Glance

FRESH = 0.9  # seconds: a stream that looks once a second sees each state at most twice


class Recent:
    """The last look at each tenant's pipelines. Safe for threads."""

    def __init__(
        self,
        look: Callable[[str], list[Glance]],
        *,
        fresh: float = FRESH,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``look`` returns how the pipelines of a tenant stand now."""
        self._look = look
        self._fresh = fresh
        self._clock = clock
        self._seen: dict[str, tuple[float, list[Glance]]] = {}
        self._lock = threading.Lock()

    def of(self, tenant: str) -> Iterable[Glance]:
        """Return how the pipelines of ``tenant`` stood a second ago or later."""
        with self._lock:
            now = self._clock()
            # An admin may ask for any name: what is stale is not kept.
            self._seen = {t: s for t, s in self._seen.items() if now - s[0] < self._fresh}
            if tenant not in self._seen:
                self._seen[tenant] = now, self._look(tenant)
            return self._seen[tenant][1]
