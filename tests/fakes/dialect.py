"""A small working dialect for the data plane: files of a shelf under ``/s3``, and short words.

GET /s3/<path>                      bytes; one Range
X-Tenant: name                      for whom; - is an admin, who counts for nobody
refusals: "no <status> <error>"     in plain text
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cache_protocol.ranges import Span, content_range, parse_range
from cache_protocol.routes import FILES, Resource
from cache_server.data.request import RefusedError, Request
from tests.fakes.shelf import FakeFile, FakeShelf


@dataclass
class Extent:
    resource: Resource
    file: FakeFile
    span: Span


@dataclass
class Reply:
    status: int
    fields: Mapping[str, str]
    body: bytes | Extent = b""
    tenant: str | None = None
    known: bool = False


@dataclass
class FakeDialect:
    shelf: FakeShelf
    prefix: str = "/s3"
    more: dict[str, str] = field(default_factory=dict)  # further fields of every answer
    peers: list[str] = field(default_factory=list)  # of every request

    def answer(self, request: Request, peer: str) -> Reply:
        self.peers.append(peer)
        name = request.path.removeprefix("/s3").strip("/")
        try:
            file = self.shelf.find(self.shelf.generation, "m", name)
        except FileNotFoundError:
            return text(404, "no such thing")
        wanted = parse_range(request.fields.get("range"), file.size)
        span = Span(0, file.size) if wanted is None else wanted
        fields = {"Content-Length": str(span.size), **self.more}
        if wanted is not None:
            fields["Content-Range"] = content_range(span, file.size)
        body = Extent(Resource(FILES, self.shelf.generation, "m", name), file, span)
        whole = b"" if request.method == "HEAD" or not span.size else body
        who = request.fields.get("x-tenant")
        status, tenant = 206 if wanted else 200, None if who == "-" else who
        return Reply(status, fields, whole, tenant, known=who is not None)

    def refuse(self, refused: RefusedError) -> Reply:
        return text(refused.status, f"no {refused.status} {refused.error}", **refused.fields)


def text(status: int, words: str, **fields: str) -> Reply:
    return Reply(status, {"Content-Length": str(len(words)), **fields}, words.encode())
