"""What every page has in common: who looks, the headers that bind a browser, failures as pages.

The policy lets a page load nothing but this node's own style and script, run nothing that stands
in the page itself, be framed by nobody, and send its forms nowhere else.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from cache_protocol.errors import CacheError, MalformedError
from cache_server.core.access import ALL_TENANTS, Identity, Right, Role
from cache_server.http.access import Caller, Needs
from cache_server.http.sessions import COOKIE

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",  # pages speak of pipelines; a shared machine keeps none
}
PROOF = "proof"  # the field of a form that another site cannot fill in

Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Show = Callable[[Request, CacheError], Response]


@dataclass(frozen=True)
class Opens(Needs):
    """A page's rule: as a call's, but its URL names the tenant, since a link sends no header."""

    async def __call__(self, request: Request) -> Caller:
        """Return who looks; ForbiddenError if the page is not for them."""
        identity: Identity = request.state.identity
        return self.caller(identity, request.query_params.get("tenant"))


@dataclass(frozen=True)
class OpensAll(Opens):
    """The rule of a list: an admin who names no tenant sees all of them."""

    async def __call__(self, request: Request) -> Caller:
        """Return who looks; ForbiddenError if the page is not for them."""
        identity: Identity = request.state.identity
        own = ALL_TENANTS if identity.role is Role.ADMIN else None
        return self.caller(identity, request.query_params.get("tenant") or own)


ListViewer = Annotated[Caller, Depends(OpensAll(Right.SEE))]
PageViewer = Annotated[Caller, Depends(Opens(Right.SEE))]
PageChanger = Annotated[Caller, Depends(Opens(Right.CHANGE))]


async def form(request: Request) -> dict[str, str]:
    """Return the fields of a sent form.

    Raises:
        MalformedError: it is none.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise MalformedError(f"a form was expected, not {kind or 'something without a type'}")
    try:
        fields = parse_qs(
            (await request.body()).decode(), keep_blank_values=True, max_num_fields=20
        )
    except ValueError as error:
        raise MalformedError(f"the form cannot be read: {error}") from error
    return {name: values[-1] for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(form)]


def cookie_of(request: Request) -> str:
    """Return the session that a request carries; "" for none."""
    return request.cookies.get(COOKIE, "")


def _no_address(error: RequestValidationError) -> MalformedError:
    wrong = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
    return MalformedError(f"this page's address cannot be read: {wrong}")


def page_route(show: Show) -> type[APIRoute]:
    """Return a class of routes whose failures are shown by ``show``: people read no JSON."""

    class PageRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await handler(request)
                except CacheError as error:
                    return show(request, error)
                except RequestValidationError as error:
                    return show(request, _no_address(error))

            return handle

    return PageRoute
