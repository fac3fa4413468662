"""Read a program's settings from an environment; a misspelt name is an error, not a default.

Kubernetes injects variables for every Service in the namespace: a Service that is called
``cache-server`` brings ``CACHE_SERVER_SERVICE_HOST`` and ``CACHE_SERVER_PORT=tcp://…``. They are
recognised by their forms and ignored.
"""

import re
from collections.abc import Collection, Mapping
from difflib import SequenceMatcher

from cache_protocol.errors import MalformedError

# Source: kubernetes.io, "Accessing the Service", environment variables of Docker links.
_INJECTED = re.compile(
    r"(.+_)?SERVICE_(HOST|PORT(_.+)?)|(.+_)?PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
)
# ``…_PORT`` alone can be ours too, rightly or wrongly spelt: its value tells.
_LINK_NAME = re.compile(r"(.+_)?PORT")
_LINK = re.compile(r"(tcp|udp|sctp)://")


def read_settings(env: Mapping[str, str], prefix: str, known: Collection[str]) -> dict[str, str]:
    """Return ``{name without prefix, lower case: value}`` of the settings that ``env`` holds.

    Raises:
        MalformedError: lists every unknown name with the nearest known one.
    """
    settings: dict[str, str] = {}
    wrong: list[str] = []
    for variable, value in env.items():
        if not variable.startswith(prefix):
            continue
        name = variable.removeprefix(prefix)
        if _LINK_NAME.fullmatch(name) and _LINK.match(value):
            continue
        if name.lower() in known:
            settings[name.lower()] = value
        elif not _INJECTED.fullmatch(name):
            near = _nearest(name.lower(), known).upper()
            wrong.append(f"{variable} is not a setting; did you mean {prefix}{near}?")
    if wrong:
        raise MalformedError("; ".join(sorted(wrong)))
    return settings


def _nearest(name: str, known: Collection[str]) -> str:
    # Swapped letters first: by runs of equal letters alone, "prot" is as near to "root".
    def nearness(candidate: str) -> tuple[bool, float, str]:
        swapped = sorted(candidate) == sorted(name)
        return swapped, SequenceMatcher(None, candidate, name).ratio(), candidate

    return max(known, key=nearness)
