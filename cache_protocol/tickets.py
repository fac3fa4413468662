"""The right to read one path for a while, carried in the query of its URL.

    /files/<generation>/<model>/<path>?expires=<unix seconds>&ticket=<43 characters>

The ticket is HMAC-SHA256 over the path as it stands in the URL and the expiry, in base64url
without padding. The node that signs is the node that serves, so the key never leaves it, and a
hit needs neither database nor event loop. The generation in the path belongs to one pipeline of
one tenant; a ticket for one path opens nothing else.
"""

import base64
import hashlib
import hmac
from urllib.parse import parse_qs

from cache_protocol.errors import TicketError

KEY_SIZE = 32  # bytes; the output size of SHA-256, RFC 2104 section 3


def sign(key: bytes, path: str, expires: int) -> str:
    """Return the query that lets its holder read ``path`` until ``expires`` (unix seconds)."""
    return f"expires={expires}&ticket={_mac(key, path, expires)}"


def check(key: bytes, path: str, query: str, now: float) -> None:
    """Return if ``query`` grants reading ``path`` at ``now`` (unix seconds).

    Raises:
        TicketError: no ticket, not of this path and expiry, or run out.
    """
    try:
        fields = parse_qs(query, max_num_fields=8)
        (expires,), (ticket,) = fields["expires"], fields["ticket"]
    except (KeyError, ValueError) as error:
        raise TicketError("the URL carries no ticket, or more than one") from error
    # isdigit alone takes other scripts' digits; the bound keeps int() short.
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
        raise TicketError("the ticket's expiry is not a number of seconds")
    if not hmac.compare_digest(_bytes(ticket), _mac(key, path, int(expires)).encode()):
        raise TicketError("the ticket does not belong to this URL")
    if now >= int(expires):
        raise TicketError(f"the ticket ran out {now - int(expires):.0f} s ago")


def _mac(key: bytes, path: str, expires: int) -> str:
    message = b"warmline-1\n%d\n%s" % (expires, _bytes(path))
    mac = hmac.new(key, message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    # A request line that is no UTF-8 reaches us with half surrogates: no ticket, but no crash.
    return text.encode(errors="surrogatepass")
