"""Which addresses an origin may be at: public ones, and those that the operator named. Pure.

Whoever answers for an origin can send us anywhere, with a redirect or with DNS: to the node's own
loopback, into the network behind it, or to a cloud's metadata service, which hands out keys to
all who ask from the inside. So every address is judged, at the moment it is connected to.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from cache_protocol.errors import MalformedError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# IPv4 inside IPv6, RFC 6052: reaches whatever the IPv4 address reaches.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# All that IANA has given out for the public. Beside it lie forms of IPv4 in IPv6 (compatible,
# translated, a site's own NAT64), site-local addresses and routers' segments.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
# Not public, whatever the ``ipaddress`` of this Python knows of them.
_INSIDE: tuple[Network, ...] = (
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure: the host of a virtual machine
    ipaddress.IPv4Network("192.0.0.0/24"),  # RFC 6890; one cloud's metadata among them
    ipaddress.IPv4Network("192.88.99.0/24"),  # RFC 7526, relays of 6to4
    ipaddress.IPv6Network("3fff::/20"),  # RFC 9637, documentation
)


@dataclass(frozen=True, slots=True)
class Reach:
    """What the operator permits besides the public Internet."""

    hosts: frozenset[str] = frozenset()  # lower case; whatever address they have
    networks: tuple[Network, ...] = ()

    def with_hosts(self, hosts: Iterable[str]) -> "Reach":
        """Return it with more ``hosts``; an empty name is none."""
        return replace(self, hosts=self.hosts | {h.lower() for h in hosts if h})

    def permits(self, host: str, address: str) -> bool:
        """Whether ``host``, which resolves to ``address``, may be connected to."""
        if host.lower().rstrip(".") in self.hosts:
            return True
        try:
            found = _unwrapped(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return False
        return _is_public(found) or _lies_in(found, self.networks)


def parse_reach(text: str, *endpoints: str | None) -> Reach:
    """Return what ``text`` and the operator's own endpoints permit.

    Args:
        text: hosts, addresses and networks, separated by commas.
        endpoints: URLs that the operator configured; their hosts are permitted on any port.

    Raises:
        MalformedError: an entry is none of these.
    """
    hosts = {urlsplit(url).hostname or "" for url in endpoints if url}
    networks: list[Network] = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            if "/" in entry or not _is_host(entry):
                raise MalformedError(
                    f"{entry!r} is not a host, an address or a network such as 10.20.0.0/16"
                ) from None
            hosts.add(entry.lower().rstrip("."))
    return Reach(frozenset(hosts - {""}), tuple(networks))


def _is_public(address: Address) -> bool:
    # is_global is false for loopback, link-local, private, shared, reserved and unspecified
    # addresses (IANA's registries), but true for multicast.
    known = address.version == 4 or address in _PUBLIC_V6
    public = known and address.is_global and not address.is_multicast
    return public and not _lies_in(address, _INSIDE)


def _lies_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == n.version and address in n for n in networks)


def _unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_host(text: str) -> bool:
    labels = text.rstrip(".").split(".")
    named = all(label.replace("-", "").isalnum() and label.isascii() for label in labels)
    return named and not labels[-1].isdigit()
