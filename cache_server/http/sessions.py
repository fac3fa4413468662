"""A browser's session: a cookie that this node made for somebody it knows.

    v1.<id of the token>.<unix seconds of its end>.<mac over both>

It holds no secret of the token: whose it is, is asked with every request, so that a token that is
revoked ends its sessions at once. The key is made from the node's own and from its admin token: a
node with another admin token knows none of the sessions of before.
"""

import base64
import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cache_server.core.access import Identity

COOKIE = "warmline-session"
LIFE = 12 * 3600  # seconds: a working day
MAX_COOKIE = 200  # characters; ours have about 80


@dataclass(frozen=True, slots=True)
class Sessions:
    """Makes sessions, and says whose they are. Keeps nothing."""

    key: bytes
    by_id: Callable[[str], Identity | None]  # of a token; None once it is revoked or has run out
    now: Callable[[], float]  # unix seconds

    def open(self, identity: Identity) -> str:
        """Return the cookie of a new session of ``identity``."""
        claim = f"v1.{identity.id}.{int(self.now()) + LIFE}"
        return f"{claim}.{self._mac('session', claim)}"

    def of(self, cookie: str) -> Identity | None:
        """Return whose session ``cookie`` is; None for nobody's."""
        claim, _, mac = cookie[:MAX_COOKIE].rpartition(".")
        if not hmac.compare_digest(mac.encode(), self._mac("session", claim).encode()):
            return None
        _, name, end = claim.split(".")
        return self.by_id(name) if self.now() < int(end) else None

    def proof(self, cookie: str) -> str:
        """Return what each form of a session carries: no page of another site can know it.

        With auth off the cookie is empty, and the proof keeps other sites out all the same.
        """
        return self._mac("form", cookie)

    def is_proof(self, given: str, cookie: str) -> bool:
        """Whether ``given`` is the proof of the session ``cookie``."""
        return hmac.compare_digest(given.encode(), self.proof(cookie).encode())

    def _mac(self, use: str, text: str) -> str:
        mac = hmac.new(self.key, f"{use}\n{text}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
