"""What the door answers: a status, fields, and bytes from memory or from a file. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from cache_protocol.ranges import Span
from cache_protocol.routes import Resource
from cache_server.ports import ReadableFile


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes of a file, whole or still being filled."""

    resource: Resource  # which file of which generation
    file: ReadableFile
    span: Span  # never empty


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, but for what belongs to a connection: Date, Connection, Server."""

    status: int
    fields: Mapping[str, str]  # Content-Length among them, also of a HEAD; none for 304
    body: bytes | Extent = b""  # nothing for HEAD and 304
    tenant: str | None = None  # whose connection it is; None: of nobody, or of an admin
    known: bool = False  # who asks has shown a good key, or needs none
