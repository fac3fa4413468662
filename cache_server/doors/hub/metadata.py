"""Answers about a repository: what it is, its files page by page, some of them by name."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qs

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from cache_protocol.errors import MalformedError
from cache_protocol.json_bounds import check_marks
from cache_protocol.names import shown
from cache_server.doors.hub import documents
from cache_server.doors.hub.address import Kind, Question
from cache_server.doors.hub.refusals import COMMIT, EntryNotFoundError
from cache_server.doors.hub.repositories import Repository
from cache_server.doors.hub.views import MANY

MAX_PATHS = 10_000  # in one question

T = TypeVar("T")


async def answer(question: Question, repository: Repository, request: Request) -> Response:
    """Return the answer to a question about ``repository``.

    Raises:
        EntryNotFoundError: there is no such directory.
        MalformedError: a page that is no number, or a body that names no paths.
    """
    match question.kind:
        case Kind.TREE:
            return await _tree(question, repository, request)
        case Kind.PATHS:
            paths = await _paths(request)
            rows = await _made(repository, lambda: documents.paths_info(repository, paths))
            return JSONResponse(rows, headers={COMMIT: repository.commit})
        case _:
            blobs = "blobs" in request.query_params
            info = await _made(repository, lambda: documents.model_info(repository, blobs=blobs))
            return JSONResponse(info, headers={COMMIT: repository.commit})


async def _made(repository: Repository, make: Callable[[], T]) -> T:
    """Return what ``make`` makes, which takes the longer the more files there are."""
    return await asyncio.to_thread(make) if len(repository.files) > MANY else make()


async def _tree(question: Question, repository: Repository, request: Request) -> Response:
    query = request.query_params
    recursive = query.get("recursive", "").lower() in ("true", "1")
    page = min(_count(query.get("limit"), documents.PAGE), documents.PAGE) or documents.PAGE
    begin = _count(query.get("cursor"), 0)
    places = await _made(
        repository, lambda: documents.tree(repository, question.path, recursive=recursive)
    )
    if not places and question.path:
        raise EntryNotFoundError(
            f"{repository.id} has no directory {shown(question.path)}", commit=repository.commit
        )
    headers = {COMMIT: repository.commit}
    if begin + page < len(places):
        headers["Link"] = documents.next_page(_url(request), dict(query), begin + page)
    return JSONResponse(documents.rows(places[begin : begin + page]), headers=headers)


def _url(request: Request) -> str:
    # The path as it was sent: what it decodes to may be nothing that a header can carry.
    raw: bytes = request.scope["raw_path"]
    return f"{request.url.scheme}://{request.url.netloc}{raw.decode('latin-1')}"


def _count(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise MalformedError(f"{shown(text)} is not a number of rows")
    return int(text)


async def _paths(request: Request) -> Sequence[str]:
    """Return the paths that a body names, a form's or a JSON object's."""
    body = await request.body()
    try:
        if request.headers.get("content-type", "").startswith("application/json"):
            check_marks(body)
            paths: Any = json.loads(body)["paths"]
        else:
            paths = parse_qs(body.decode(), max_num_fields=MAX_PATHS)["paths"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise MalformedError("the body names no 'paths', or too many") from error
    if not isinstance(paths, list) or len(paths) > MAX_PATHS:
        raise MalformedError(f"'paths' is no list of {MAX_PATHS} at most")
    if not all(isinstance(path, str) for path in paths):
        raise MalformedError("'paths' has something that is no text")
    return paths
