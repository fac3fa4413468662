"""The hub's door put together: one route below ``/hf``, which understands the path by itself.

    /hf/<pipeline>/…     what the hub has at /…, as far as that pipeline has it

One route and no more, because ids have one segment or two, revisions carry encoded slashes, and
every failure, an unknown path's as well, has to be said in the hub's words.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, unquote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from cache_protocol.errors import BusyError, MalformedError
from cache_protocol.json_bounds import check_marks
from cache_protocol.names import shown
from cache_server.catalogue.registry import Key
from cache_server.doors.hub import documents
from cache_server.doors.hub.address import (
    DEFAULT_REVISION,
    Kind,
    Question,
    is_of_another_kind,
    parse,
)
from cache_server.doors.hub.credentials import spelt
from cache_server.doors.hub.first_use import FirstUse
from cache_server.doors.hub.refusals import (
    COMMIT,
    EntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    not_allowed,
    refuse,
    unknown,
)
from cache_server.doors.hub.repositories import Repository, at, is_commit, repositories
from cache_server.doors.hub.resolve import Files, Found
from cache_server.doors.on_demand import OnDemand
from cache_server.doors.shelf import Shelf
from cache_server.http.access import Caller
from cache_server.http.access import Reader as MayRead
from cache_server.http.annex import Annex, annex_route
from cache_server.http.auth import Check
from cache_server.http.replicas import DataAddress
from cache_server.service.library import Readable

PREFIX = "/hf"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
PATIENCE = 4.0  # seconds that a cold slot's origin has to say what it holds; clients wait 10
MAX_PATHS = 10_000  # in one question
VIEWS = 256  # generations whose files by path are kept; a view of 1000 files takes 0.3 MB


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
        self._views: dict[tuple[str, object], list[Repository]] = {}

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
        key = await self._first_use.key(caller, pipeline, question)
        generation = await self._open(caller, key)
        found = self._repositories(generation, key, question.repository)
        if question.kind is Kind.REFS:
            return JSONResponse(documents.refs(found, DEFAULT_REVISION))
        if question.kind is Kind.AUTH:
            return JSONResponse({})
        repository = at(found, question.revision)
        if repository is None:
            generation, repository = self._earlier(key, question)
        return await self._answer(question, generation, repository, request)

    async def _answer(
        self, question: Question, generation: Readable, repository: Repository, request: Request
    ) -> Response:
        match question.kind:
            case Kind.FILE:
                return await self._files.answer(_find(generation, repository, question), request)
            case Kind.TREE:
                return _tree(question, repository, request)
            case Kind.PATHS:
                rows = documents.paths_info(repository, await _paths(request))
                return JSONResponse(rows, headers={COMMIT: repository.commit})
            case _:
                blobs = "blobs" in request.query_params
                info = documents.model_info(repository, blobs=blobs)
                return JSONResponse(info, headers={COMMIT: repository.commit})

    async def _open(self, caller: Caller, key: Key) -> Readable:
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._shelf.open(caller.identity.id, key)
        except TimeoutError as error:
            raise BusyError(
                f"the origin of {shown(key.id)} has not said within {PATIENCE:.0f} s what it "
                "holds; it is still being asked: come back"
            ) from error

    def _repositories(self, generation: Readable, key: Key, repository: str) -> list[Repository]:
        found = [r for r in self._view(generation, key) if r.id == repository]
        if not found:
            raise RepositoryNotFoundError(
                f"pipeline {shown(key.id)} has no repository {shown(repository)}"
            )
        return found

    def _earlier(self, key: Key, question: Question) -> tuple[Readable, Repository]:
        """Return what a full commit names that is not the slot's any more, but is still read.

        Raises:
            RevisionNotFoundError: nothing.
        """
        if is_commit(question.revision):
            for generation in self._shelf.service.library.all():
                if key == (generation.content.tenant, generation.content.pipeline):
                    for repository in self._view(generation, key):
                        if (repository.id, repository.commit) == (
                            question.repository,
                            question.revision,
                        ):
                            return generation, repository
        raise RevisionNotFoundError(
            f"pipeline {shown(key.id)} has {shown(question.repository)} at another revision than "
            f"{shown(question.revision)}"
        )

    def _view(self, generation: Readable, key: Key) -> list[Repository]:
        specs = self._shelf.service.specs(key)
        name = generation.id, specs
        if (view := self._views.pop(name, None)) is None:
            view = repositories(generation.content, specs)
        self._views[name] = view  # the latest last
        if len(self._views) > VIEWS:
            del self._views[next(iter(self._views))]
        return view


def _split(request: Request) -> tuple[str, str]:
    """Return the pipeline that the path names, and what is below it as the client wrote it."""
    raw: bytes = request.scope["raw_path"]
    pipeline, _, below = raw.decode("latin-1").removeprefix(PREFIX).lstrip("/").partition("/")
    return unquote(pipeline), below


def _unknown(below: str) -> Response:
    if is_of_another_kind(below):
        raise RepositoryNotFoundError("a pipeline has models, and neither datasets nor spaces")
    return unknown()


def _find(generation: Readable, repository: Repository, question: Question) -> Found:
    entry = repository.files.get(question.path)
    if entry is None:
        raise EntryNotFoundError(
            _why_not(generation, repository, question.path), commit=repository.commit
        )
    return Found(generation, repository, entry, is_commit(question.revision))


def _why_not(generation: Readable, repository: Repository, path: str) -> str:
    where = f"{repository.id} at {repository.commit}"
    for model in generation.content.models:
        for out in model.left_out:
            if out.path == path:
                return (
                    f"{shown(path)} of {where} stays at its origin, because it can run code: "
                    f"register the pipeline with allow_{out.why} to have it"
                )
    return f"{where} has no file {shown(path)} here"


def _tree(question: Question, repository: Repository, request: Request) -> Response:
    query = request.query_params
    recursive = query.get("recursive", "").lower() in ("true", "1")
    rows = documents.tree(repository, question.path, recursive=recursive)
    if not rows and question.path:
        raise EntryNotFoundError(
            f"{repository.id} has no directory {shown(question.path)}", commit=repository.commit
        )
    page = min(_count(query.get("limit"), documents.PAGE), documents.PAGE) or documents.PAGE
    begin = _count(query.get("cursor"), 0)
    headers = {COMMIT: repository.commit}
    if begin + page < len(rows):
        # The path as it was sent: what it decodes to may be nothing that a header can carry.
        raw = request.scope["raw_path"].decode("latin-1")
        url = f"{request.url.scheme}://{request.url.netloc}{raw}"
        headers["Link"] = documents.next_page(url, dict(query), begin + page)
    return JSONResponse(rows[begin : begin + page], headers=headers)


def _count(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise MalformedError(f"{shown(text)} is not a number of rows")
    return int(text)


async def _paths(request: Request) -> Sequence[str]:
    """Return the paths that a body names, a form's or a JSON object's.

    Raises:
        MalformedError: it names none, or too many.
    """
    body = await request.body()
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            check_marks(body)
            paths: Any = json.loads(body)["paths"]
        else:
            paths = parse_qs(body.decode(), max_num_fields=MAX_PATHS)["paths"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise MalformedError("the body names no 'paths', or too many") from error
    if not isinstance(paths, list) or not all(isinstance(p, str) for p in paths[:MAX_PATHS]):
        raise MalformedError("'paths' is no list of texts")
    return paths[:MAX_PATHS]


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
