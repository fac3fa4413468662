"""Questions to origins that nobody waits for: what pipelines that were just registered consist of.

A few at a time, and not all of one tenant: each takes threads for as long as its origins are
silent, and a hub counts how often it is asked. A pipeline that somebody asks for meanwhile is
resolved at once, and needs no turn here.
"""

import logging
import threading  # noqa: TC003 - as everywhere else in the service
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future  # noqa: TC003 - as above
from typing import Any

from cache_protocol.errors import CacheError
from cache_server.core.fair_turns import next_turn
from cache_server.service.slot import Slot

log = logging.getLogger(__name__)

AT_ONCE = 32
OF_TENANT = 16  # at once


class Lookups:
    """Slots that are to be resolved. Guarded by the service's lock."""

    def __init__(
        self,
        lock: "threading.RLock",
        resolve: Callable[[Slot], "Future[Any]"],
        is_there: Callable[[Slot], bool],
    ) -> None:
        """Ask nothing yet.

        Args:
            lock: the service's.
            resolve: asks the origins of a slot; BusyError if it cannot.
            is_there: whether a slot was neither removed nor replaced while it waited.
        """
        self._lock = lock
        self._resolve = resolve
        self._is_there = is_there
        self._waiting: dict[str, deque[Slot]] = {}  # by tenant, whose turn was longest ago first
        self._running: Counter[str] = Counter()  # by tenant

    def ask(self, slot: Slot) -> None:
        """Have ``slot`` resolved as its turn comes; returns at once.

        What cannot begin then, since the system has no thread left, is left to the first request.
        """
        tenant = slot.registration.key.tenant
        with self._lock:
            if self._may_begin(tenant):
                self._try(slot)
            else:
                self._waiting.setdefault(tenant, deque()).append(slot)

    def close(self) -> None:
        """Begin no more."""
        with self._lock:
            self._waiting.clear()

    def _may_begin(self, tenant: str) -> bool:
        return self._turn([*self._waiting, tenant]) == len(self._waiting)

    def _turn(self, tenants: list[str]) -> int | None:
        return next_turn(tenants, self._running, limit=AT_ONCE, limit_of=lambda _: OF_TENANT)

    def _begin(self, slot: Slot) -> None:
        tenant = slot.registration.key.tenant
        found = self._resolve(slot)
        self._running[tenant] += 1
        found.add_done_callback(lambda _: self._ended(tenant))

    def _ended(self, tenant: str) -> None:
        with self._lock:
            self._running[tenant] -= 1
            self._running += Counter()  # without those that have none: tenants come and go
            while (slot := self._next()) is not None:
                self._try(slot)

    def _next(self) -> Slot | None:
        tenants = list(self._waiting)
        turn = self._turn(tenants)
        if turn is None:
            return None
        queue = self._waiting.pop(tenants[turn])
        slot = queue.popleft()
        if queue:
            self._waiting[tenants[turn]] = queue
        return slot

    def _try(self, slot: Slot) -> None:
        asked = slot.content is not None or slot.resolving is not None  # somebody was faster
        if asked or slot.leaving or not self._is_there(slot):
            return
        try:
            self._begin(slot)
        except CacheError as error:  # the first request asks again
            log.warning("what it consists of is not looked up: %s", error, extra=slot.named)
