"""Who is known to this node: its own admin token, and those that were created.

All in memory, so that a request costs one hash and no query; the database has the same for the
next start. A token is ``wl_<id>_<secret>``: found by its id, judged by the hash of the whole.
"""

import base64
import hashlib
import hmac
import secrets
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from cache_protocol.errors import MalformedError, UnknownTokenError
from cache_protocol.names import check_pipeline, shown
from cache_server.catalogue.tokens import Token, Tokens
from cache_server.core.access import ALL_TENANTS, ROOT, Identity, Role

PREFIX = "wl"
MAX_TOKENS = 100_000  # 50 MB of them; a mistake in somebody's loop, not a fleet


class Identities:
    """All identities. Safe for threads."""

    def __init__(
        self, tokens: Tokens, admin_token: str, *, key: bytes, now: Callable[[], datetime]
    ) -> None:
        """Read what was created earlier.

        Args:
            tokens: where they are kept.
            admin_token: the node's own.
            key: of this node; secrets of S3 are derived from it, and kept nowhere.
            now: wall clock; tokens run out by it.
        """
        self._tokens = tokens
        self._admin = _hash(admin_token)
        self._key = key
        self._now = now
        self._lock = threading.Lock()
        self._by_id = {token.identity.id: token for token in tokens.all()}

    def of(self, text: str) -> Identity | None:
        """Return who sent the token ``text``; None for nobody.

        Both hashes are compared whatever ``text`` looks like, in constant time.
        """
        given = _hash(text)
        is_admin = hmac.compare_digest(given, self._admin)
        token = self._by_id.get(_id_in(text))
        known = hmac.compare_digest(given, self._admin if token is None else token.sha256)
        if is_admin:
            return ROOT
        return token.identity if token is not None and known and self._lives(token) else None

    def by_id(self, name: str) -> Identity | None:
        """Return who has the token of id ``name``, as long as it is valid."""
        if name == ROOT.id:
            return ROOT
        token = self._by_id.get(name)
        return token.identity if token is not None and self._lives(token) else None

    def create(
        self,
        tenant: str,
        role: Role,
        *,
        pipelines: frozenset[str] | None = None,
        name: str = "",
        lifetime: timedelta | None = None,
    ) -> tuple[Token, str]:
        """Make a token; return it with its text, which nobody can tell again.

        Raises:
            MalformedError: a tenant or pipeline that cannot be one, an admin that is narrowed to
                pipelines, all tenants for who may do more than look, or a lifetime that is none;
                or there are too many tokens.
        """
        _check_tenant(tenant, role)
        for pipeline in pipelines or ():
            check_pipeline(pipeline)
        if role is Role.ADMIN and pipelines is not None:
            raise MalformedError("an admin acts everywhere; a token of it names no pipelines")
        if len(self._by_id) >= MAX_TOKENS:
            raise MalformedError(f"there are {len(self._by_id)} tokens; revoke some first")
        identity = Identity(secrets.token_hex(8), tenant, role, pipelines)
        text = f"{PREFIX}_{identity.id}_{secrets.token_urlsafe(32)}"
        token = Token(identity, name, _hash(text), self._now(), self._end(lifetime))
        with self._lock:
            self._tokens.add(token)
            self._by_id = {**self._by_id, identity.id: token}
        return token, text

    def all(self) -> list[Token]:
        """Return every token, the oldest first."""
        return sorted(self._by_id.values(), key=lambda t: (t.created, t.identity.id))

    def revoke(self, name: str) -> None:
        """End a token, at once.

        Raises:
            UnknownTokenError: there is none.
        """
        with self._lock:
            if name not in self._by_id:
                raise UnknownTokenError(f"there is no token {shown(name)}")
            self._tokens.remove(name)
            self._by_id = {i: token for i, token in self._by_id.items() if i != name}

    def s3_secret(self, name: str) -> str:
        """Return the secret access key of the S3 access key ``name``, a token's id."""
        mac = hmac.new(self._key, f"s3\n{name}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()

    def session_key(self) -> bytes:
        """Return the key of browsers' sessions; another admin token makes it another one."""
        return hmac.new(self._key, b"session\n" + self._admin, hashlib.sha256).digest()

    def _lives(self, token: Token) -> bool:
        return token.expires is None or self._now() < token.expires

    def _end(self, lifetime: timedelta | None) -> datetime | None:
        if lifetime is None:
            return None
        try:
            end = self._now() + lifetime
        except OverflowError as error:
            raise MalformedError("the token would outlive the calendar; leave lifetime out") from (
                error
            )
        if end <= self._now():
            raise MalformedError("the token would have run out already")
        return end


def _check_tenant(tenant: str, role: Role) -> None:
    if tenant != ALL_TENANTS:
        check_pipeline(tenant)  # the same letters: both become names of directories
    elif role is not Role.VIEWER:
        raise MalformedError(
            f"a token of all tenants only looks: its role is viewer, not {role.value}; an admin "
            "of any tenant acts for every one"
        )


def _hash(text: str) -> bytes:
    # 256 random bits need no slow hash: nobody guesses them, and every request pays for it.
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _id_in(text: str) -> str:
    prefix, _, rest = text.partition("_")
    return rest.partition("_")[0] if prefix == PREFIX else ""
