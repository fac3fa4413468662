"""The right to read one path for a while, carried in the query of its URL.

    /files/<generation>/<model>/<path>?expires=<unix seconds>&key=<id>&tenant=<name>&ticket=<mac>

The ticket is HMAC-SHA256 in base64url without padding, over the expiry, the node, the tenant and
the path as it stands in the URL. The node that signs is the node that serves, so its keys never
leave it, and a hit needs neither database nor event loop. The generation in the path belongs to
one pipeline of one tenant; a ticket for one path opens nothing else. A node has several keys while
it changes them: ``key`` says which one signed. What it says besides needs no secrecy.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs

from cache_protocol.errors import TicketError
from cache_protocol.names import PIPELINE

KEY_SIZE = 32  # bytes; the output size of SHA-256, RFC 2104 section 3


class Key(NamedTuple):
    """What signs."""

    id: str  # letters and digits; stands in every URL that it signs
    secret: bytes


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys of one node at one moment: the first signs, each of them is accepted."""

    node: str  # the node's own id; goes into every ticket
    keys: tuple[Key, ...]

    def secret(self, key: str) -> bytes | None:
        """Return the secret of the key that is called ``key``; None if there is none."""
        return next((k.secret for k in self.keys if k.id == key), None)


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a valid ticket says of its holder."""

    tenant: str
    expires: int  # unix seconds


def sign(keys: Keys, tenant: str, path: str, expires: int) -> str:
    """Return the query that lets ``tenant`` read ``path`` until ``expires`` (unix seconds)."""
    key = keys.keys[0]
    mac = _mac(key.secret, keys.node, tenant, path, expires)
    return f"expires={expires}&key={key.id}&tenant={tenant}&ticket={mac}"


def check(keys: Keys, path: str, query: str, now: float) -> Ticket:
    """Return the ticket if ``query`` grants reading ``path`` at ``now`` (unix seconds).

    Raises:
        TicketError: no ticket, of a key that the node does not have, not of this path, tenant
            and expiry, or run out.
    """
    fields = _fields(query)
    secret = keys.secret(fields.key)
    if secret is None:
        raise TicketError("the node has given up the key that signed this ticket, or never had it")
    expires = int(fields.expires)
    mac = _mac(secret, keys.node, fields.tenant, path, expires)
    if not hmac.compare_digest(_bytes(fields.ticket), mac.encode()):
        raise TicketError("the ticket does not belong to this URL")
    if now >= expires:
        raise TicketError(f"the ticket ran out {now - expires:.0f} s ago")
    return Ticket(fields.tenant, expires)


class _Fields(NamedTuple):
    expires: str
    key: str
    tenant: str
    ticket: str


def _fields(query: str) -> _Fields:
    try:
        given = parse_qs(query, max_num_fields=8)
        (expires,), (key,), (tenant,), (ticket,) = (given[name] for name in _Fields._fields)
    except (KeyError, ValueError) as error:
        raise TicketError("the URL carries no ticket, or more than one") from error
    # isdigit alone takes other scripts' digits; the bound keeps int() short.
    if not (expires.isascii() and expires.isdigit() and len(expires) <= 12):
        raise TicketError("the ticket's expiry is not a number of seconds")
    # No line break may come into what is signed, see _mac.
    if not PIPELINE.fullmatch(tenant):
        raise TicketError("the ticket's tenant is not a name")
    return _Fields(expires, key, tenant, ticket)


def _mac(secret: bytes, node: str, tenant: str, path: str, expires: int) -> str:
    # The path comes last: it alone may hold a line break, and so it cannot pass for another field.
    message = b"warmline-2\n%d\n%s\n%s\n%s" % (expires, _bytes(node), _bytes(tenant), _bytes(path))
    mac = hmac.new(secret, message, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    # A request line that is no UTF-8 reaches us with half surrogates: no ticket, but no crash.
    return text.encode(errors="surrogatepass")
