"""Why a call over the network failed, in words for a person. Pure.

What Python shows of such an exception is its class and its arguments, or nothing at all.
"""

import http.client

from cache_protocol.names import shown


def reason(error: Exception) -> str:
    """Return what went wrong: one printable line, never empty."""
    if isinstance(error, http.client.RemoteDisconnected):  # also a BadStatusLine
        return "the connection was closed before an answer came"
    if isinstance(error, http.client.IncompleteRead):
        missing = "" if error.expected is None else f" of {len(error.partial) + error.expected}"
        return f"the answer ended after {len(error.partial)}{missing} bytes"
    if isinstance(error, http.client.BadStatusLine):
        return f"the answer is not HTTP: {shown(str(error.args[0]))}"
    if isinstance(error, TimeoutError):
        return "no answer came in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if str(error).isprintable() and str(error) else type(error).__name__
