"""Gives each request its id: the caller's own, or a new one; the answer carries it."""

import secrets

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cache_protocol.request_ids import HEADER, accepted
from cache_server.core.tracing import request_id

_HEADER = HEADER.lower().encode()  # as ASGI has names


class Tracing:
    """ASGI: outermost, so that whatever ``app`` logs has the id."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before ``app``."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered under its id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Each request runs in a task of its own: this is seen by it, and by what it begins.
        name = _given(scope) or secrets.token_hex(8)
        request_id.set(name)

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (_HEADER, name.encode())]
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, tell)


def _given(scope: Scope) -> str | None:
    found = next((value for name, value in scope["headers"] if name == _HEADER), None)
    return None if found is None else accepted(found.decode("latin-1"))
