"""Connections that came from another port of the node, and go back for what is answered there.

A proxy before the node sends requests of many clients over one connection: a dialect's, which are
answered here, and others. So the bytes of each request are looked at before they are taken for
one of ours; a connection of the data port has no home, and all that comes over it is for us.
"""

from dataclasses import dataclass

from cache_server.core.first_line import leads_under
from cache_server.handed import Back


class HomewardError(Exception):
    """The next request of this connection is for the port that it came from."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a connection came from."""

    prefix: bytes  # of the paths that it was handed over for
    take_back: Back

    def calls(self, unread: bytearray) -> bool:
        """Whether ``unread`` is the begin of a request that is not for us."""
        return leads_under(self.prefix, unread) is False
