"""Which tenant a connection reads for, and how many connections each tenant has.

A peer is a stranger until it shows a ticket; from then on it counts as a connection of the
ticket's tenant, until it ends or shows a ticket of another one.
"""

import threading

from cache_protocol.errors import QuotaError
from cache_server.core.shares import LimitOf, Shares
from cache_server.data.request import RefusedError
from cache_server.data.wire import Wire

RETRY_AFTER = "1"  # seconds; a connection ends often


class Guests:
    """All connections that have shown a ticket. Safe for threads."""

    def __init__(self, limit_of: LimitOf) -> None:
        """Let each tenant have as many connections at once as ``limit_of`` it says."""
        self._shares = Shares("connections for data", limit_of)
        self._lock = threading.Lock()

    def admit(self, wire: Wire, tenant: str) -> None:
        """Count ``wire`` as one of ``tenant``; costs nothing where it is one already.

        Raises:
            RefusedError: 429, the tenant has as many as it may.
        """
        if wire.tenant == tenant:
            return
        self.leave(wire)
        try:
            with self._lock:
                self._shares.take(tenant)
        except QuotaError as error:
            raise RefusedError(429, error, {"Retry-After": RETRY_AFTER}) from error
        wire.tenant = tenant

    def leave(self, wire: Wire) -> None:
        """Count ``wire`` no more."""
        if wire.tenant is not None:
            with self._lock:
                self._shares.give_back(wire.tenant)
            wire.tenant = None
