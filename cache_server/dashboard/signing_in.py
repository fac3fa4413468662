"""Signing in with a token, and out again.

The token is judged once and not kept: the browser gets a session, which names the token and is
asked about with every request. Scripts cannot read the cookie, and other sites cannot send it.
"""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute

from cache_protocol.errors import CacheError, ForbiddenError, UnauthorizedError
from cache_server.core.access import Identity, Right
from cache_server.core.attempts import FailedAttempts
from cache_server.dashboard.actions import Fields, Proven
from cache_server.dashboard.browser import HEADERS, Form, Opens
from cache_server.dashboard.layout import Layout
from cache_server.http import problems
from cache_server.http.access import Caller
from cache_server.http.auth import judge
from cache_server.http.sessions import COOKIE, LIFE
from cache_server.http.sites import check_origin
from cache_server.service.identities import Identities

SIGN_IN = "/sign-in"
MAX_PLACE = 2000  # characters of an address to go back to


def sign_in_routes(
    layout: Layout, identities: Identities, attempts: FailedAttempts, route: type[APIRoute]
) -> APIRouter:
    """Return the routes; those of ``SIGN_IN`` are open to all."""
    router = APIRouter(include_in_schema=False, route_class=route)
    proven = Proven(layout.sessions)

    @router.get(SIGN_IN)
    async def page(request: Request, to: str = "/") -> Response:
        return layout.page(request, "sign_in", {"to": safe_place(to), "error": None})

    # A coroutine: attempts are counted on the event loop alone.
    @router.post(SIGN_IN)
    async def sign_in(request: Request, fields: Form) -> Response:
        to = safe_place(fields.get("to", "/"))
        try:
            check_origin(request)
            who = _judged(fields.get("token", "").strip(), request, identities, attempts)
        except CacheError as error:
            status = problems.status_of(error)
            return layout.page(request, "sign_in", {"to": to, "error": error}, status=status)
        return _with_session(RedirectResponse(to, 303, HEADERS), layout, who, request)

    @router.post("/sign-out")
    async def sign_out(
        _caller: Annotated[Caller, Depends(Opens(Right.SEE))],
        _fields: Annotated[Fields, Depends(proven)],
    ) -> Response:
        answer = RedirectResponse(SIGN_IN, 303, HEADERS)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    return router


def to_sign_in(request: Request, error: CacheError) -> Response | None:
    """Return a browser that is not known to the sign-in page; None for whoever is no browser."""
    of_api = request.url.path.startswith("/v1/")
    wants_page = not of_api and "text/html" in request.headers.get("accept", "")
    if not (isinstance(error, UnauthorizedError) and wants_page):
        return None
    place = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    to = place if request.method == "GET" else "/"
    return RedirectResponse(f"{SIGN_IN}?{urlencode({'to': to})}", 303, HEADERS)


def safe_place(to: str) -> str:
    r"""Return ``to`` if it is a page of this node, else the first page.

    A browser takes ``//host`` and ``/\host`` for another site, and drops control characters.
    """
    here = to.startswith("/") and not to.startswith(("//", "/\\"))
    return to if here and to.isprintable() and len(to) <= MAX_PLACE else "/"


def _judged(
    token: str, request: Request, identities: Identities, attempts: FailedAttempts
) -> Identity:
    who = judge(token, request, identities, attempts)
    if not who.may(Right.SEE):
        raise ForbiddenError(
            f"a token of role {who.role} reads weights and sees no pages; "
            "ask an admin for one of role viewer or deployer"
        )
    return who


def _with_session(answer: Response, layout: Layout, who: Identity, request: Request) -> Response:
    answer.set_cookie(
        COOKIE,
        layout.sessions.open(who),
        max_age=LIFE,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer
