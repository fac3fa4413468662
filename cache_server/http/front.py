"""What pages for people add to the control plane; what is on them is somebody else's concern.

They come with their routes, each with its rule as any other, with the few paths that are open
to those who are not known yet (to sign in, and what that page needs), and with a way to tell
a browser that it is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from cache_protocol.errors import CacheError
from cache_server.http.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Front:
    """All pages."""

    routes: APIRouter
    sessions: Sessions
    open_to_all: tuple[str, ...]  # paths as routes have them: ``/assets/{name}``
    refuse: Callable[[Request, CacheError], Response | None]  # None: as the API does

    def opens(self, path: str) -> bool:
        """Whether ``path`` is for everybody."""
        return any(_matches(path, route) for route in self.open_to_all)


def _matches(path: str, route: str) -> bool:
    fixed, braced, _ = route.partition("{")
    return path.startswith(fixed) if braced else path == route
