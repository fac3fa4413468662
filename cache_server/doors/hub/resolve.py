"""One file of a repository: its bytes, or where they are.

    small and on disk      200, 206, 304: sent from here
    anything else          302 to the data plane, by a URL that carries its own right to read

The data plane sends by ``sendfile``, waits for chunks that are still on their way, and passes
through what is not kept. A client that has asked HEAD goes there straight away, without its token;
one that comes back after the ticket has run out asks here again.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote

import aiofiles
from fastapi import Request, Response

from cache_protocol.errors import DiskError
from cache_protocol.names import shown
from cache_protocol.ranges import Span, content_range
from cache_protocol.routes import FILES, Resource
from cache_server.core.content import LeftOut
from cache_server.core.key_ring import LONGEST_LIFE
from cache_server.data.answer import select
from cache_server.data.plain import MARK
from cache_server.data.request import RefusedError
from cache_server.data.request import Request as Asked
from cache_server.doors.hub.address import Question
from cache_server.doors.hub.refusals import COMMIT, EntryNotFoundError, refuse
from cache_server.doors.hub.repositories import Entry, Repository, is_commit, place_of
from cache_server.doors.shelf import File
from cache_server.http.manifests import Signer
from cache_server.http.replicas import DataAddress, data_plane
from cache_server.service.library import Readable
from cache_server.store.stored_file import StoredFile

SMALL = 2**20  # bytes of a file that is sent from here, in one piece
READ_LIMIT = 5.0  # seconds for a file; clients wait 10 for a byte
READERS = 8  # threads; a disk that hangs takes these, and none that answer other calls
FOR_GOOD = "private, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Found:
    """A file that somebody asked for."""

    generation: Readable
    repository: Repository
    entry: Entry
    by_commit: bool  # it was asked for by a name that never moves

    @property
    def file(self) -> File:
        """The file itself."""
        return self.generation.file(self.entry.model, self.entry.origin.path)

    @property
    def headers(self) -> dict[str, str]:
        """What every answer about it says."""
        return {
            COMMIT: self.repository.commit,
            "ETag": f'"{self.entry.tag}"',
            "Accept-Ranges": "bytes",
            "Cache-Control": FOR_GOOD if self.by_commit else "private, no-cache",
        }


def find(generation: Readable, repository: Repository, question: Question) -> Found:
    """Return the file that ``question`` names.

    Raises:
        EntryNotFoundError: there is none; it says why, where somebody decided that.
    """
    entry = repository.files.get(question.path)
    if entry is None:
        raise EntryNotFoundError(
            _why_not(generation, repository, question.path), commit=repository.commit
        )
    return Found(generation, repository, entry, is_commit(question.revision))


def _why_not(generation: Readable, repository: Repository, path: str) -> str:
    where = f"{repository.id} at {repository.commit}"
    why = next((out.why for out in _left_out(generation, repository) if out.path == path), None)
    if why is None:
        return f"{where} has no file {shown(path)} here"
    return (
        f"{shown(path)} of {where} stays at its origin, because it can run code: "
        f"register the pipeline with allow_{why} to have it"
    )


def _left_out(generation: Readable, repository: Repository) -> Iterator[LeftOut]:
    content, place = generation.content, (repository.id, repository.commit)
    for model in content.models:
        if place_of(generation.id, content, model) == place:
            yield from model.left_out


class Files:
    """Answers requests for files."""

    def __init__(self, data: DataAddress) -> None:
        self._data = data
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="hub-door")

    async def answer(self, found: Found, request: Request) -> Response:
        """Return the answer to GET or HEAD of a file.

        Raises:
            DiskError: it cannot be read.
        """
        file = found.file
        if file.size > SMALL or not isinstance(file, StoredFile) or not file.map.whole:
            return self._elsewhere(found, file, request)
        asked = Asked(request.method, request.url.path, "", _fields(request), keep_alive=True)
        try:
            selection = select(asked, file.size, found.headers["ETag"])
        except RefusedError as refused:
            return _unsatisfied(request, found, refused)
        if selection.status == 304:
            return Response(None, 304, found.headers)
        headers = found.headers | _described(found.entry)
        if selection.status == 206:
            headers["Content-Range"] = content_range(selection.span, file.size)
        if request.method == "HEAD":
            return Response(None, 200, headers | {"Content-Length": str(file.size)})
        return Response(await self._read(file, selection.span), selection.status, headers)

    def _elsewhere(self, found: Found, file: File, request: Request) -> Response:
        content, data = found.generation.content, self._data
        signer = Signer(data.tickets(), data_plane(data, request), int(time.time()) + LONGEST_LIFE)
        resource = Resource(FILES, found.generation.id, found.entry.model, found.entry.origin.path)
        headers = found.headers | {
            "Location": f"{signer.url(content.tenant, resource)}&{MARK}",
            "X-Linked-Size": str(file.size),
            "X-Linked-ETag": found.headers["ETag"],
            "Cache-Control": "no-store",  # the URL is one reader's, for a while
        }
        return Response(None, 302, headers)

    async def _read(self, file: StoredFile, span: Span) -> bytes:
        def opened(_path: str, _flags: int) -> int:
            return file.open()

        try:
            async with (
                asyncio.timeout(READ_LIMIT),
                aiofiles.open(
                    file.path, "rb", buffering=0, opener=opened, executor=self._readers
                ) as handle,
            ):
                if span.begin:
                    await handle.seek(span.begin)
                data = await handle.read(span.size)
        except TimeoutError as error:
            raise DiskError(f"{file.origin.path}: no byte within {READ_LIMIT:.0f} s") from error
        except OSError as error:
            file.failed(span.begin, error)
            raise DiskError(f"{file.origin.path} cannot be read: {error.strerror}") from error
        if len(data) < span.size:
            raise DiskError(f"{file.origin.path} gave {len(data)} of {span.size} bytes")
        return data


def _fields(request: Request) -> Mapping[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _described(entry: Entry) -> dict[str, str]:
    # Whoever wrote the repository wrote this file: no browser is to take it for a page of ours.
    name = entry.origin.path.rpartition("/")[2]
    return {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": _attached(name),
        "X-Content-Type-Options": "nosniff",
    }


def _attached(name: str) -> str:
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _unsatisfied(request: Request, found: Found, refused: RefusedError) -> Response:
    answer = refuse(request, refused.error, refused.status)
    answer.headers.update({**found.headers, **refused.fields, "Cache-Control": "no-store"})
    return answer
