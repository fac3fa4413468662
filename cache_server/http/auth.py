"""Who may ask: a bearer token, compared in constant time."""

import hashlib
import hmac
from collections.abc import Callable

from fastapi import Request

from cache_protocol.errors import UnauthorizedError


def bearer(admin_token: str | None) -> Callable[[Request], None]:
    """Return a check that lets requests with ``admin_token`` pass; None lets all pass.

    Only the token's hash is kept in memory, and both sides of the comparison have one length.
    """
    if admin_token is None:
        return _everybody
    known = hashlib.sha256(admin_token.encode()).digest()

    def check(request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given = hashlib.sha256(token.strip().encode()).digest()
        if scheme.lower() != "bearer" or not hmac.compare_digest(given, known):
            raise UnauthorizedError(
                "send the node's token as 'Authorization: Bearer …'; "
                "its commands take it from CACHE_SERVER_ADMIN_TOKEN, agents from "
                "REPLICA_AGENT_TOKEN"
            )

    return check


def _everybody(_request: Request) -> None:  # typed, or FastAPI takes its argument for a query's
    return
