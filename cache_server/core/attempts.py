"""How often somebody at an address tried a wrong token lately. Pure; bounded in memory.

Only failures count, so that a valid token is never limited by its address: replicas share those
of their NAT. One more failure than allowed is answered with a wait, not with a verdict.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable

WINDOW = 60.0  # seconds
LIMIT = 20  # failures of one address in a window; a person mistypes three times
ADDRESSES = 10_000  # remembered; a megabyte or two. The longest quiet ones are forgotten first


class FailedAttempts:
    """Counts failures per address. Not locked."""

    def __init__(
        self,
        *,
        limit: int = LIMIT,
        window: float = WINDOW,
        tell: Callable[[str], None] = lambda _address: None,
    ) -> None:
        """Count; ``tell`` hears of an address that has failed too often, once in a window."""
        self.total = 0  # since the start, of all addresses
        self.limited = 0  # of these, those that were answered with a wait
        self._limit = limit
        self._window = window
        self._tell = tell
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()  # window's begin, count

    def note(self, address: str, now: float) -> float:
        """Count a failure at ``now`` (seconds); return for how long to refuse, 0 for not at all."""
        self.total += 1
        name = _network(address)
        begin, count = self._counts.pop(name, (now, 0))
        if now - begin >= self._window:
            begin, count = now, 0
        self._counts[name] = begin, count + 1
        if len(self._counts) > ADDRESSES:
            self._counts.popitem(last=False)
        if count < self._limit:
            return 0.0
        self.limited += 1
        if count == self._limit:
            self._tell(name)
        return begin + self._window - now


def _network(address: str) -> str:
    """Return what one guesser has: an IPv4 address, or a /64 of IPv6."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
