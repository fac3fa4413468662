"""Who has shown who it is, for which tenant it reads, and how many connections each tenant has.

A peer is a stranger until it shows a ticket; from then on it counts as a connection of the
ticket's tenant, until it ends or shows a ticket of another one. Some that are no strangers count
for nobody: admins, and who asks a node that wants no proof.
"""

import threading

from cache_protocol.errors import QuotaError
from cache_server.core.shares import LimitOf, Shares
from cache_server.data.request import RefusedError
from cache_server.data.wire import Wire

RETRY_AFTER = "1"  # seconds; a connection ends often


class Guests:
    """All connections that are no strangers. Safe for threads."""

    def __init__(self, limit_of: LimitOf) -> None:
        """Let each tenant have as many connections at once as ``limit_of`` it says."""
        self._shares = Shares("connections for data", limit_of)
        self._lock = threading.Lock()

    def admit(self, wire: Wire, tenant: str | None) -> None:
        """Count ``wire`` as one of ``tenant``; costs nothing where it is one already.

        None: it has shown who it is, and counts for nobody.

        Raises:
            RefusedError: 429, the tenant has as many as it may.
        """
        if wire.known and wire.tenant == tenant:
            return
        self.leave(wire)
        if tenant is not None:
            self._take(tenant)
        wire.known, wire.tenant = True, tenant

    def _take(self, tenant: str) -> None:
        try:
            with self._lock:
                self._shares.take(tenant)
        except QuotaError as error:
            raise RefusedError(429, error, {"Retry-After": RETRY_AFTER}) from error

    def leave(self, wire: Wire) -> None:
        """Count ``wire`` no more: it is a stranger again."""
        if wire.tenant is not None:
            with self._lock:
                self._shares.give_back(wire.tenant)
        wire.known, wire.tenant = False, None
