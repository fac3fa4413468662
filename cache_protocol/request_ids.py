"""An id that ties together what one start did on every machine: a header, and a field of each log.

The agent makes one per start and sends it with every call; the node writes it into its log and
sends it on to the origin. It says nothing and opens nothing.
"""

import re

HEADER = "X-Request-Id"
_LAWFUL = re.compile(r"[A-Za-z0-9._-]{1,64}")


def accepted(text: str | None) -> str | None:
    """Return ``text`` if it can be an id; None if there is none, or one that no log should hold."""
    return text if text is not None and _LAWFUL.fullmatch(text) else None
