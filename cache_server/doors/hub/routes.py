"""The hub's door put together: one route below ``/hf``, which understands the path by itself.

    /hf/<pipeline>/…     what the hub has at /…, as far as that pipeline has it

One route and no more, because ids have one segment or two, revisions carry encoded slashes, and
every failure, an unknown path's as well, has to be said in the hub's words.
"""

from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from cache_server.doors.hub import documents, metadata
from cache_server.doors.hub.address import (
    DEFAULT_REVISION,
    Kind,
    is_of_another_kind,
    parse,
)
from cache_server.doors.hub.credentials import spelt
from cache_server.doors.hub.first_use import FirstUse
from cache_server.doors.hub.patience import PATIENCE, Patience
from cache_server.doors.hub.refusals import (
    RepositoryNotFoundError,
    not_allowed,
    refuse,
    unknown,
)
from cache_server.doors.hub.resolve import Files, find
from cache_server.doors.hub.views import Views
from cache_server.doors.on_demand import OnDemand
from cache_server.doors.shelf import Shelf
from cache_server.http.access import Caller
from cache_server.http.access import Reader as MayRead
from cache_server.http.annex import Annex, annex_route
from cache_server.http.auth import Check
from cache_server.http.opening import late
from cache_server.http.replicas import DataAddress

PREFIX = "/hf"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def hub_annex(
    shelf: Shelf, data: DataAddress, check: Check, on_demand: OnDemand | None = None
) -> Annex:
    """Return the door; ``check`` tells who asks, by the token that clients call HF_TOKEN."""
    hub = Hub(shelf, Files(data), FirstUse(on_demand))
    router = APIRouter(prefix=PREFIX, route_class=annex_route(refuse), include_in_schema=False)

    @router.api_route("", methods=METHODS)
    @router.api_route("/{rest:path}", methods=METHODS)
    async def ask(caller: MayRead, request: Request) -> Response:
        """Answer a question of the hub's protocol."""
        return await hub.answer(caller, request)

    return Annex(PREFIX, router, refuse, spelt(check))


class Hub:
    """Answers the hub's questions."""

    def __init__(self, shelf: Shelf, files: Files, first_use: FirstUse) -> None:
        self._shelf = shelf
        self._first_use = first_use
        self._files = files
        self._views = Views(shelf)

    async def answer(self, caller: Caller, request: Request) -> Response:
        """Answer ``request``, which ``caller`` makes.

        Raises:
            CacheError: it cannot be; the door's route says so in the hub's words.
        """
        pipeline, below = _split(request)
        question = parse(below)
        allowed = ("GET", "HEAD") if question is None else question.methods
        if request.method not in allowed:
            return not_allowed(request.method, allowed)
        if question is None:
            return _unknown(below)
        if question.kind is Kind.WHOAMI:
            return JSONResponse(_whoami(caller))
        patience = Patience()
        key = await self._first_use.key(caller, pipeline, question, patience)
        async with patience.wait(late(key, PATIENCE)):
            generation = await self._shelf.open(caller.identity.id, key)
        if question.kind in (Kind.REFS, Kind.AUTH):
            found = await self._views.of_id(key, generation, question.repository)
            said = documents.refs(found, DEFAULT_REVISION) if question.kind is Kind.REFS else {}
            return JSONResponse(said)
        name = caller.identity.id
        generation, repository = await self._views.find(name, key, generation, question)
        if question.kind is Kind.FILE:
            return await self._files.answer(find(generation, repository, question), request)
        return await metadata.answer(question, repository, request)


def _split(request: Request) -> tuple[str, str]:
    """Return the pipeline that the path names, and what is below it as the client wrote it."""
    raw: bytes = request.scope["raw_path"]
    pipeline, _, below = raw.decode("latin-1").removeprefix(PREFIX).lstrip("/").partition("/")
    return unquote(pipeline), below


def _unknown(below: str) -> Response:
    if is_of_another_kind(below):
        raise RepositoryNotFoundError("a pipeline has models, and neither datasets nor spaces")
    return unknown()


def _whoami(caller: Caller) -> dict[str, Any]:
    identity = caller.identity
    token = {"displayName": identity.id, "role": "read"}
    return {
        "type": "user",
        "id": identity.id,
        "name": identity.id,
        "fullname": f"{identity.role.value} of {identity.tenant}",
        "isPro": False,
        "orgs": [],
        "auth": {"type": "access_token", "accessToken": token},
    }
