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
            at, glances = self._seen.get(tenant, (float("-inf"), []))
            if self._clock() - at >= self._fresh:
                glances = self._look(tenant)
                self._seen[tenant] = self._clock(), glances
            return glances
