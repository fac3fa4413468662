"""Take a URL of the manifest or of the settings apart, strictly.

A URL goes into a request as it stands, so anything that could end a line or start another
header is refused here.
"""

import re
from typing import NamedTuple

from cache_protocol.errors import MalformedError
from cache_protocol.names import shown

# No label empty or longer than 63: the look-up of such a name ends in no error of the system.
_NAME = r"(?![^:/]{254})[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?"
_URL = re.compile(
    rf"https?://(?P<host>\[[0-9A-Fa-f:.]{{2,45}}\]|{_NAME})(?::(?P<port>[0-9]{{1,5}}))?"
    r"(?P<target>/[!\"$-~]*)?"  # printable, no blank, no fragment
)


class Endpoint(NamedTuple):
    """Where a node listens."""

    host: str  # a name or an address; IPv6 without brackets
    port: int
    tls: bool = False

    def __str__(self) -> str:
        """Return ``host:port`` as it stands in a ``Host`` header."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Target(NamedTuple):
    """What to ask of whom."""

    endpoint: Endpoint
    path: str  # with its query; begins with a slash


def parse_url(url: str) -> Target:
    """Return what ``url`` points at.

    Raises:
        MalformedError: another scheme, user information, a port that is none, or a character
            that does not belong into a URL. The message never shows a query: it is a secret.
    """
    match = _URL.fullmatch(url)
    tls = url.startswith("https")
    port = int(match["port"] or (443 if tls else 80)) if match else 0
    if match is None or not 0 < port < 2**16:
        raise MalformedError(f"{shown(url.partition('?')[0])} is not an http or https URL")
    return Target(Endpoint(match["host"].strip("[]"), port, tls), match["target"] or "/")
