"""Who is on the socket, and how many may be: in all, of one user, for one tenant.

Each peer costs a thread. Of one user of the host there are never so many that others find no place;
of one tenant never more than its quota of connections. Whoever is refused reads over the network.
"""

import threading
from collections import Counter
from typing import TYPE_CHECKING

from cache_protocol.errors import BusyError
from cache_server.core.shares import LimitOf, Shares, no_limit

if TYPE_CHECKING:
    from cache_server.local.guest import Guest

GUESTS = 256  # at once; sixteen engines of four lanes are 64
OF_ONE_USER = 192  # of these


class Register:
    """All peers. Safe for threads."""

    def __init__(
        self, connections_of: LimitOf = no_limit, guests: int = GUESTS, of_user: int = OF_ONE_USER
    ) -> None:
        """Let ``guests`` in at once, ``of_user`` of one user, of a tenant ``connections_of`` it."""
        self._most = guests
        self._most_of_user = of_user
        self._shares = Shares("connections on the node's own host", connections_of)
        self._users: Counter[int] = Counter()
        self._guests: set[Guest] = set()
        self._lock = threading.Lock()

    def enter(self, guest: "Guest") -> None:
        """Note that ``guest`` is there.

        Raises:
            BusyError: there are too many; it is not noted.
        """
        with self._lock:
            if len(self._guests) >= self._most:
                raise BusyError(f"{len(self._guests)} connections are on this socket")
            if self._users[guest.uid] >= self._most_of_user:
                raise BusyError(
                    f"user {guest.uid} has {self._users[guest.uid]} connections on this socket"
                )
            self._users[guest.uid] += 1
            self._guests.add(guest)

    def admit(self, guest: "Guest", tenant: str) -> None:
        """Count ``guest`` as one that reads for ``tenant``; QuotaError when it has too many."""
        if guest.tenant == tenant:
            return
        with self._lock:
            self._forget_tenant(guest)
            self._shares.take(tenant)
            guest.tenant = tenant

    def leave(self, guest: "Guest") -> None:
        """Note that ``guest`` has gone; one that never entered is fine."""
        with self._lock:
            if guest in self._guests:
                self._guests.discard(guest)
                self._users[guest.uid] -= 1
                self._users += Counter()  # users come and go
                self._forget_tenant(guest)

    @property
    def guests(self) -> "list[Guest]":
        """Everybody who is there."""
        with self._lock:
            return list(self._guests)

    def _forget_tenant(self, guest: "Guest") -> None:
        if guest.tenant is not None:
            self._shares.give_back(guest.tenant)
            guest.tenant = None
