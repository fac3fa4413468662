"""What stands around every page: who looks, where else to go, what was just done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from cache_protocol.errors import CacheError
from cache_server.core.access import Identity, Right
from cache_server.dashboard.browser import HEADERS, cookie_of
from cache_server.dashboard.render import Templates
from cache_server.http import problems
from cache_server.http.sessions import Sessions
from cache_server.service.service import Service

# What a page says once about what was just done; a link can choose a sentence, never write one.
DONE: dict[str, str] = {
    "warm": "The fill has been asked for.",
    "refresh": "The source is being asked for a newer revision.",
    "pin": "Pinned: the policy never evicts it.",
    "unpin": "No longer pinned: the policy decides again.",
    "evict": "Evicted: nothing of it is kept on this node.",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands around every page."""

    service: Service
    templates: Templates
    sessions: Sessions
    auth: bool

    def page(
        self, request: Request, name: str, context: Mapping[str, Any], *, status: int = 200
    ) -> HTMLResponse:
        """Return the page ``name`` for whoever asks."""
        html = self.templates.render(f"{name}.html", {**self._around(request), **context})
        return HTMLResponse(html, status, HEADERS)

    def failure(self, request: Request, error: CacheError) -> HTMLResponse:
        """Return ``error`` as a page, with the status that the API would answer with."""
        return self.page(request, "failure", {"error": error}, status=problems.status_of(error))

    def _around(self, request: Request) -> dict[str, Any]:
        # Nobody is known on the way in.
        who: Identity | None = getattr(request.state, "identity", None)
        return {
            "who": who,
            "may_see": who is not None and who.may(Right.SEE),
            "auth": self.auth,
            "region": self.service.options.region,
            "proof": self.sessions.proof(cookie_of(request)),
            "at": request.url.path,
            "live": f"{request.url.path.rstrip('/')}/live?{request.url.query}",
            "done": DONE.get(request.query_params.get("done", "")),
        }
