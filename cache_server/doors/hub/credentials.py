"""Who asks at the hub's door: whose token it is, however it is spelt; programs, and no browser.

A page elsewhere can have a browser ask anything of a node with auth off, and so start fills.
"""

from fastapi import Request

from cache_protocol.errors import ForbiddenError
from cache_server.core.access import Identity
from cache_server.core.hub_tokens import from_hub
from cache_server.core.led import led_by_a_site
from cache_server.http.auth import Check

_NAME = b"authorization"


def spelt(check: Check) -> Check:
    """Return ``check`` for tokens that may be spelt as the hub's own are."""

    def checked(request: Request) -> Identity:
        if led_by_a_site(request.headers):
            raise ForbiddenError(
                "a site had your browser ask this; this endpoint answers programs alone"
            )
        return check(_respelt(request))

    return checked


def _respelt(request: Request) -> Request:
    """Return ``request`` with our own spelling of its token."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip().startswith("hf_"):
        return request
    field = _NAME, b"Bearer " + from_hub(token.strip()).encode("latin-1", "replace")
    others = [(name, value) for name, value in request.scope["headers"] if name != _NAME]
    return Request({**request.scope, "headers": [*others, field]})
