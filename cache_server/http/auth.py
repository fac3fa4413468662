"""Who asks: a token, or a browser's session, before anything else of the request is looked at."""

import logging
import threading
import time
from collections.abc import Callable

from fastapi import Request

from cache_protocol.errors import BusyError, ForbiddenError, UnauthorizedError
from cache_protocol.names import shown
from cache_server.core.access import ROOT, Identity
from cache_server.core.attempts import FailedAttempts
from cache_server.core.loopback import names_loopback
from cache_server.http.sessions import COOKIE, Sessions
from cache_server.http.sites import check_unled
from cache_server.service.identities import Identities

log = logging.getLogger(__name__)

Check = Callable[[Request], Identity]
MAX_TOKEN = 512  # characters; ours have 63


def everybody(request: Request) -> Identity:
    """Let everybody on this machine do everything: auth is off, on a loopback address.

    Not those whose browser was led here under another name: a site that lets its own name point
    to this machine could read pages and send their forms, as if they were its own. Nor those
    whose browser another site has ask.

    Raises:
        ForbiddenError: the node was asked for by a name that is not this machine's, or another
            site asks.
    """
    # Not of request.url, which has the node's own address where the field cannot be one.
    host = request.headers.get("host", "localhost")
    if not names_loopback(host):
        raise ForbiddenError(
            f"with auth off this node answers to 'localhost' and loopback addresses, not to "
            f"{shown(host)}"
        )
    check_unled(request)
    return ROOT


class SharedAttempts(FailedAttempts):
    """Counts for the event loop and for threads beside it; logs an address that fails too often."""

    def __init__(self) -> None:
        super().__init__(tell=_tell)
        self._noting = threading.Lock()

    def note(self, address: str, now: float) -> float:
        """Count a failure; see ``FailedAttempts``."""
        with self._noting:
            return super().note(address, now)


def bearer(identities: Identities, attempts: FailedAttempts) -> Check:
    """Return a check that tells who asks; wrong tokens count in ``attempts``."""

    def check(request: Request) -> Identity:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise _unknown("no token was sent")
        return judge(token, request, identities, attempts)

    return check


def or_session(check: Check, sessions: Sessions) -> Check:
    """Return ``check``, which a session stands in for where no token is sent.

    A session opens pages, whose forms carry a proof that they are the node's own. On the API,
    which asks for none, it only looks.
    """

    def check_both(request: Request) -> Identity:
        cookie = request.cookies.get(COOKIE)
        if cookie is None or "authorization" in request.headers:
            return check(request)
        identity = sessions.of(cookie)
        if identity is None:
            raise _unknown("the session is over")
        if request.url.path.startswith("/v1/") and request.method not in ("GET", "HEAD"):
            raise ForbiddenError("a browser's session only looks at the API; send a token")
        return identity

    return check_both


def still_known(identities: Identities, *, auth: bool) -> Callable[[Identity], bool]:
    """Return whether somebody's token is still valid, for answers that go on for hours."""
    if not auth:
        return lambda who: who == ROOT
    return lambda who: identities.by_id(who.id) == who


def judge(
    token: str, request: Request, identities: Identities, attempts: FailedAttempts
) -> Identity:
    """Return whose ``token`` is; a wrong one counts against the address it came from.

    Raises:
        UnauthorizedError: nobody's.
        BusyError: nobody's, and it is one of too many.
    """
    identity = identities.of(token) if len(token) <= MAX_TOKEN else None
    if identity is None:
        _count(request, attempts)
        raise _unknown("nobody has this token, or it was revoked or has run out")
    return identity


def _count(request: Request, attempts: FailedAttempts) -> None:
    address = request.client.host if request.client is not None else "unknown"
    wait = attempts.note(address, time.monotonic())
    if wait:
        raise BusyError(
            f"too many wrong tokens came from {address}; the next one is looked at in "
            f"{wait:.0f} s, a valid one at any time"
        )


def _tell(address: str) -> None:
    log.warning(
        "too many wrong tokens from %s within a minute: more of them wait. A replica whose token "
        "was revoked, or a guesser",
        address,
    )


def _unknown(reason: str) -> UnauthorizedError:
    return UnauthorizedError(
        f"{reason}; send 'Authorization: Bearer …': the node's commands take the token from "
        "CACHE_SERVER_ADMIN_TOKEN, agents from REPLICA_AGENT_TOKEN"
    )
