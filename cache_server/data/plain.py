"""Readers that know nothing of us: a door sent them here, by a URL that says so. Pure.

    /files/…?expires=…&…&ticket=…&reader=plain

An agent waits for a chunk as long as it takes, and asks for another manifest where it has to. A
client of the hub gives up after ten seconds without a byte, and takes 503 for an end: it knows one
way of waiting, 429 with Retry-After. The mark is not signed: a reader may say it of itself.
"""

from cache_protocol.errors import Retry
from cache_server.data.request import RefusedError

MARK = "reader=plain"
COME_BACK = 5  # seconds, where nobody has a wish; clients of the hub try five times more


def is_plain(query: str) -> bool:
    """Whether a URL with ``query`` was made for such a reader."""
    return MARK in query.split("&")


def come_back(refused: RefusedError) -> RefusedError:
    """Return ``refused`` as such a reader understands it: what may work later is 429."""
    if refused.status < 500 or refused.error.retry is Retry.NEVER:
        return refused
    wish = refused.fields.get("Retry-After", str(COME_BACK))
    return RefusedError(429, refused.error, {"Retry-After": wish})
