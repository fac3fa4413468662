"""How long each answer took, by route: outermost, so that refusals at the door count as well."""

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cache_server.metrics.requests import ELSEWHERE, RequestTimes

# What a route may be asked with; the method is the caller's word, and any other would be a series.
METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
CUT = 499  # the caller left before a status: nginx' word for it


class Timing:
    """ASGI: counts what ``app`` answers."""

    def __init__(self, app: ASGIApp, times: RequestTimes) -> None:
        """Stand before ``app``, and tell ``times``."""
        self._app = app
        self._times = times

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began = CUT, time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception:
            status = 500  # a bug: whoever stands before this answers it
            raise
        finally:
            # Routing leaves its finding in the scope; who was refused before has none.
            route = getattr(scope.get("route"), "path", ELSEWHERE)
            method = scope["method"] if scope["method"] in METHODS else ELSEWHERE
            self._times.observe(method, route, status, time.perf_counter() - began)
