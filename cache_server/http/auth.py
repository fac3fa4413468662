"""Who asks: a bearer token, before anything else of the request is looked at."""

import time
from collections.abc import Callable

from fastapi import Request

from cache_protocol.errors import BusyError, UnauthorizedError
from cache_server.core.access import ROOT, Identity
from cache_server.core.attempts import FailedAttempts
from cache_server.service.identities import Identities

MAX_TOKEN = 512  # characters; ours have 63


def everybody(_request: Request) -> Identity:
    """Let everybody do everything: auth is off, on a loopback address."""
    return ROOT


def bearer(identities: Identities, attempts: FailedAttempts) -> Callable[[Request], Identity]:
    """Return a check that tells who asks, for one event loop: ``attempts`` is not locked."""

    def check(request: Request) -> Identity:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise _unknown("no token was sent")
        identity = identities.of(token) if len(token) <= MAX_TOKEN else None
        if identity is None:
            _count(request, attempts)
            raise _unknown("nobody has this token, or it was revoked or has run out")
        return identity

    return check


def _count(request: Request, attempts: FailedAttempts) -> None:
    address = request.client.host if request.client is not None else "unknown"
    wait = attempts.note(address, time.monotonic())
    if wait:
        raise BusyError(
            f"too many wrong tokens came from {address}; the next one is looked at in "
            f"{wait:.0f} s, a valid one at any time"
        )


def _unknown(reason: str) -> UnauthorizedError:
    return UnauthorizedError(
        f"{reason}; send 'Authorization: Bearer …': the node's commands take the token from "
        "CACHE_SERVER_ADMIN_TOKEN, agents from REPLICA_AGENT_TOKEN"
    )
