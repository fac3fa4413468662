"""Style sheet, script and icon: read once, sent as they are. No file is chosen by a request.

Their URLs carry a digest of what is in them, so that a browser keeps them for good and has new
ones with the first page of a new version.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

TYPES: dict[str, str] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
PATH = "/assets/{name}"
FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    media_type: str
    tag: str  # of its content

    @classmethod
    def read(cls, name: str) -> "Asset":
        """Read the file ``name`` of this package."""
        body = resources.files("cache_server.dashboard").joinpath("static", name).read_bytes()
        kind = TYPES[name.rpartition(".")[2]]
        return cls(body, kind, hashlib.sha256(body).hexdigest()[:12])


def read_assets() -> dict[str, Asset]:
    """Return every asset by its name."""
    static = resources.files("cache_server.dashboard").joinpath("static")
    return {file.name: Asset.read(file.name) for file in static.iterdir()}


def link(assets: Mapping[str, Asset], name: str) -> str:
    """Return the URL of an asset as it is now."""
    return f"/assets/{name}?{assets[name].tag}"


def asset_routes(assets: Mapping[str, Asset]) -> APIRouter:
    """Return the one route; open to all, since a sign-in page needs its style."""
    router = APIRouter(include_in_schema=False)

    @router.get(PATH)
    async def asset(name: str, request: Request) -> Response:
        """Return an asset; kept for good where it was asked for as ``link`` names it."""
        found = assets.get(name)
        if found is None:
            return PlainTextResponse("there is no such file\n", 404)
        lasting = request.url.query == found.tag
        headers = {
            "Cache-Control": FOR_GOOD if lasting else "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(found.body, 200, headers, found.media_type)

    return router
