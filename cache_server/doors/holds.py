"""Who reads through a door: leases for programs that know of none.

A program of the hub or of S3 asks file by file and says neither hello nor goodbye. So its first
request takes a lease, each further one renews it, and so does a chore while bytes of its
generation leave; once nothing of it was asked for ``IDLE`` seconds it is given back. Evictions,
replaced generations and the end of the node then treat it as any replica.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from cache_protocol.errors import GenerationGoneError
from cache_server.catalogue.registry import Key
from cache_server.service.library import Readable
from cache_server.service.service import Service

IDLE = 30.0  # seconds; clients back off up to 8 s, and hash or load between two files
IDLE_AT_THE_END = 5.0  # while the node is being stopped: it waits for readers, not for pauses
RENEWAL = 40.0  # seconds between two renewals of one lease: a third of its term


class Reader(NamedTuple):
    """Somebody, reading something: one hold of a generation for all of its connections."""

    name: str  # of the token
    key: Key


@dataclass(slots=True)
class _Hold:
    lease: str
    used: float  # monotonic seconds, of the last request
    renewed: float


class Holds:
    """All holds of one node's doors. Safe for threads."""

    def __init__(
        self,
        service: Service,
        busy: Callable[[], set[str]] = set,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hold what ``service`` has.

        Args:
            service: grants the leases.
            busy: the generations whose bytes leave now.
            monotonic: seconds.
        """
        self._service = service
        self._busy = busy
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._holds: dict[tuple[Reader, str], _Hold] = {}

    def has(self, reader: Reader, generation: Readable) -> bool:
        """Whether ``reader`` read ``generation`` a moment ago."""
        return (reader, generation.id) in self._holds

    def take(self, reader: Reader, generation: Readable) -> None:
        """Hold ``generation`` for ``reader``, anew or for longer.

        Raises:
            DrainingError: the node is about to stop, and this would be a new reader.
        """
        now, name = self._monotonic(), (reader, generation.id)
        hold = self._holds.get(name)
        # Nearly every request ends here, and needs no lock.
        if hold is not None and self._is_fresh(hold, now):
            hold.used = now
            return
        with self._lock:
            hold = self._holds.get(name)  # somebody may have been faster
            if hold is not None and self._keep(hold, now):
                hold.used = now
            else:
                lease = self._service.grant(reader.key, generation)
                self._holds[name] = _Hold(lease.id, now, now)

    def upkeep(self) -> None:
        """Renew what is read, and give back what nobody asked for lately. A chore."""
        now, busy = self._monotonic(), self._busy()
        idle = IDLE_AT_THE_END if self._service.draining else IDLE
        with self._lock:
            alive = self._service.leases.alive()  # once: there may be thousands
            for name, hold in list(self._holds.items()):
                if name[1] in busy:
                    hold.used = now
                kept = hold.lease in alive and self._keep(hold, now)
                if now - hold.used > idle or not kept:
                    del self._holds[name]
                    self._service.leases.give_back(hold.lease)

    def _keep(self, hold: _Hold, now: float) -> bool:
        """Renew the lease of ``hold`` where that is due; return whether it is still one."""
        if self._is_fresh(hold, now):
            return True
        try:
            self._service.leases.renew(hold.lease)
        except GenerationGoneError:
            return False
        hold.renewed = now
        return True

    def _is_fresh(self, hold: _Hold, now: float) -> bool:
        """Whether ``hold`` is good as it is: an eviction by force, or a hub's no, has ended it."""
        return now - hold.renewed < RENEWAL and self._service.leases.has(hold.lease)
