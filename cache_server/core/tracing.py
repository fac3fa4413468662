"""For whom something is done right now: the id of the request that began it.

Set where a request comes in, handed on to the threads that work for it, read by the log and by
whoever calls an origin. Pure.
"""

from collections.abc import Mapping
from contextvars import ContextVar

from cache_protocol.request_ids import HEADER

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def trace_headers() -> Mapping[str, str]:
    """Return the header that tells an origin for which request it is asked; none for none."""
    name = request_id.get()
    return {} if name is None else {HEADER: name}
