"""A part of the control plane that speaks somebody else's protocol, below a path of its own.

Its failures are that protocol's, also those that are known before a route is found: a token that
is missing, a share that is used up, a body that is too large.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from cache_protocol.errors import CacheError, MalformedError
from cache_server.http.auth import Check

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Refuse(Protocol):
    """Says no in an annex's own words."""

    def __call__(self, request: Request, error: CacheError, status: int | None = None) -> Response:
        """Return the answer to ``request``; ``status`` where HTTP itself has one for it."""
        ...


@dataclass(frozen=True, slots=True)
class Annex:
    """One protocol."""

    prefix: str  # "/hf"; it and everything below it
    routes: APIRouter
    refuse: Refuse
    check: Check | None = None  # who asks, where that is not a bearer of a token

    def covers(self, path: str) -> bool:
        """Whether ``path`` is its."""
        return path == self.prefix or path.startswith(f"{self.prefix}/")


def annex_route(refuse: Refuse) -> type[APIRoute]:
    """Return a class of routes whose failures are said by ``refuse``."""

    class AnnexRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await handler(request)
                except CacheError as error:
                    return refuse(request, error)
                except RequestValidationError as error:
                    return refuse(request, MalformedError(str(error)))

            return handle

    return AnnexRoute
