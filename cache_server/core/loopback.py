"""Whether a name can only be this machine's. Pure: nothing is looked up."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(name: str) -> bool:
    """Whether ``name`` or address is this machine's own."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")  # RFC 6761 section 6.3


def names_loopback(host: str) -> bool:
    """Whether the value of a Host field, with its port, is this machine's own."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:  # a bracket that does not close
        return False
