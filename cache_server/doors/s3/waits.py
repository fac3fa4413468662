"""How many requests wait for origins, and whose: silent origins of one tenant keep no other out.

A request here waits in a thread, and its tenant's quota of connections counts it only once it has
an answer. So the places are given out like this: a tenant waits in as many as it leaves free.
Alone it gets half of all, with another one each a third, and who comes last finds one free.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from cache_protocol.errors import BusyError


class Waits:
    """All who wait. Safe for threads."""

    def __init__(self, places: int) -> None:
        """Have ``places`` for all tenants together."""
        self._free = places
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """Take a place for the length of the block; BusyError if there is none for ``tenant``."""
        with self._lock:
            ours = self._taken[tenant]
            if ours >= self._free:
                raise BusyError(
                    f"too many requests wait for origins that do not answer, {ours} of them of "
                    f"tenant {tenant}; come back"
                )
            self._change(tenant, 1)
        try:
            yield
        finally:
            with self._lock:
                self._change(tenant, -1)

    def _change(self, tenant: str, by: int) -> None:
        self._free -= by
        self._taken[tenant] += by
        if not self._taken[tenant]:
            del self._taken[tenant]  # tenants come and go
