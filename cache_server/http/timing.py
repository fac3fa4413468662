"""Counts and logs each answer, by route; before the door, so that refusals there count as well."""

import logging
import time
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cache_server.metrics.requests import ELSEWHERE, RequestTimes

log = logging.getLogger("cache_server.requests")

# What a route may be asked with; the method is the caller's word, and any other would be a series.
METHODS = frozenset(("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"))
_OF_EVERY_START = ("/v1/leases", "/v1/boots")  # many a second where replicas start
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
        status, began, took = CUT, time.perf_counter(), None

        async def watch(message: Message) -> None:
            nonlocal status, took
            if message["type"] == "http.response.start":
                status = message["status"]
                if _goes_on(message):
                    took = time.perf_counter() - began
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
            seconds = time.perf_counter() - began if took is None else took
            self._times.observe(method, route, status, seconds)
            _log(scope, route, status, seconds)


def _goes_on(message: Message) -> bool:
    """Whether the answer that begins is a stream of events: an hour of it is not a slow answer."""
    fields: dict[bytes, bytes] = dict(message["headers"])
    return fields.get(b"content-type", b"").startswith(b"text/event-stream")


def _log(scope: Scope, route: str, status: int, seconds: float) -> None:
    level = _level(scope["method"], route, status)
    if not log.isEnabledFor(level):
        return
    identity = scope.get("state", {}).get("identity")
    facts = {
        "status": status,
        "seconds": round(seconds, 4),
        "caller": getattr(identity, "id", None),
    }
    log.log(level, "%s %s", scope["method"], quote(scope["path"]), extra=facts)


def _level(method: str, route: str, status: int) -> int:
    """Return how much an answer matters: what changes something is told, what only looks is not."""
    if status >= 500:
        return logging.WARNING
    looks = method in ("GET", "HEAD") or route.startswith(_OF_EVERY_START)
    return logging.DEBUG if looks else logging.INFO
