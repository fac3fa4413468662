"""What the node says of itself and of each pipeline; nothing changes but what is looked at."""

import threading  # noqa: TC003 - as everywhere else in the service
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from cache_server.catalogue.registry import Key
from cache_server.core.access import covers
from cache_server.core.slots import SlotState
from cache_server.service.clocks import Clocks
from cache_server.service.glance import Glance, Now, glance_at
from cache_server.service.inventory import Inventory
from cache_server.service.leases import Leases
from cache_server.service.requests import Requests
from cache_server.service.room import Room
from cache_server.service.slot import Slot
from cache_server.service.views import pipeline_view


class Figures:
    """Shows what is there. Safe for threads."""

    def __init__(  # noqa: PLR0913 - all by name
        self,
        *,
        lock: "threading.RLock",
        inventory: Inventory,
        requests: Requests,
        room: Room,
        leases: Leases,
        clocks: Clocks,
        hot_window: timedelta,
        parts: Callable[[], dict[str, Any]],
    ) -> None:
        """Take the parts.

        Args:
            lock: the service's.
            inventory: what is known of each pipeline.
            requests: when each was asked for last.
            room: what each takes of the disk.
            leases: who reads.
            clocks: for ages.
            hot_window: how long a pipeline stays hot.
            parts: what the node's other parts say of themselves, for its status.
        """
        self._lock = lock
        self._inventory = inventory
        self._requests = requests
        self._room = room
        self._leases = leases
        self._clocks = clocks
        self._hot_window = hot_window
        self._parts = parts

    def view(self, key: Key) -> dict[str, Any]:
        """Return one pipeline as the API shows it.

        Raises:
            UnknownPipelineError: there is none.
        """
        with self._lock:
            self._requests.note_reads()
            return self._view(self._inventory.find(key))

    def views(self, tenant: str) -> list[dict[str, Any]]:
        """Return every pipeline of ``tenant``, or of ALL_TENANTS, by id, without its files."""
        with self._lock:
            self._requests.note_reads()
            shown = [self._view(slot) for slot in self._of(tenant)]
        for view in shown:
            for model in view["models"]:
                model.pop("files", None)
                model.pop("left_out", None)
        return shown

    def ids(self, tenant: str) -> list[str]:
        """Return the pipelines of ``tenant``, in order; looks at no disk."""
        with self._lock:
            return sorted(key.id for key in self._inventory.slots if key.tenant == tenant)

    def check(self, key: Key) -> None:
        """Return if there is such a pipeline; UnknownPipelineError. Looks at no disk."""
        with self._lock:
            self._inventory.find(key, load=False)

    def glance(self, key: Key) -> Glance:
        """Return how one pipeline stands.

        Raises:
            UnknownPipelineError: there is none.
        """
        with self._lock:
            return self._glances([self._inventory.find(key)])[0]

    def glances(self, tenant: str) -> list[Glance]:
        """Return how every pipeline of ``tenant``, or of ALL_TENANTS, stands, by tenant and id."""
        with self._lock:
            return self._glances(self._of(tenant))

    def status(self) -> dict[str, Any]:
        """Return the node's own figures."""
        with self._lock:
            slots = self._inventory.slots.values()
            states = [slot.state for slot in slots]
            fills = sum(slot.work is not None for slot in slots)
        return {
            "pipelines": {state.value: states.count(state) for state in SlotState},
            "fills": fills,
            "leases": self._leases.count,
            **self._parts(),
        }

    def _of(self, tenant: str) -> list[Slot]:
        slots = sorted(self._inventory.slots.items())
        return [slot for key, slot in slots if covers(tenant, key.tenant)]

    def _view(self, slot: Slot) -> dict[str, Any]:
        self._inventory.load(slot)
        return pipeline_view(
            slot,
            now=self._clocks.moment(),
            monotonic=self._clocks.monotonic(),
            hot_window=self._hot_window,
        )

    def _glances(self, slots: list[Slot]) -> list[Glance]:
        self._requests.note_reads()
        clocks, readers = self._clocks, self._leases.readers_by_key()
        now = Now(clocks.moment(), clocks.monotonic(), self._hot_window)
        return [
            glance_at(
                slot,
                now,
                booked=self._room.booked(slot),
                readers=readers.get(slot.registration.key, 0),
            )
            for slot in slots
        ]
