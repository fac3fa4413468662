"""Another protocol that the data plane speaks: what it is asked, and what it has the plane send.

    head under ``prefix`` ──> Dialect.answer ──Reply──> head, then bytes or a part of a file
    the plane says no ──────> Dialect.refuse ──Reply──> the same, in the words of the protocol

A dialect decides what is said, and to whom. The plane has the connections, the bounds, the wait
for chunks and ``sendfile``: bytes leave as they do for replicas. A dialect never writes to a peer.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol

from cache_protocol.ranges import Span
from cache_protocol.routes import Resource
from cache_server.data.request import RefusedError, Request
from cache_server.ports import ReadableFile


class Extent(Protocol):
    """A part of a file, as the body of an answer."""

    @property
    def resource(self) -> Resource:
        """Which file of which generation."""
        ...

    @property
    def file(self) -> ReadableFile:
        """Where the bytes are, or come."""
        ...

    @property
    def span(self) -> Span:
        """Which of them; never empty."""
        ...


class Reply(Protocol):
    """A whole answer, but for what belongs to a connection: Date and Connection."""

    @property
    def status(self) -> int:
        """Any of ``http.HTTPStatus``."""
        ...

    @property
    def fields(self) -> Mapping[str, str]:
        """Content-Length among them, also of a HEAD; none for 304."""
        ...

    @property
    def body(self) -> bytes | Extent:
        """Nothing for HEAD and 304."""
        ...

    @property
    def tenant(self) -> str | None:
        """For whom the connection counts; None: for nobody."""
        ...

    @property
    def known(self) -> bool:
        """Whether who asks has shown who it is, or need not: it is no stranger any more."""
        ...


class Dialect(Protocol):
    """One protocol. Safe for threads."""

    @property
    def prefix(self) -> str:
        """The path under which everything is answered in its words: ``/s3``."""
        ...

    def answer(self, request: Request, peer: str) -> Reply:
        """Return what to say to ``request``; ``peer`` is the address that it came from.

        Called in a thread that may wait for as long as a client of the protocol does. Never raises.
        """
        ...

    def refuse(self, refused: RefusedError) -> Reply:
        """Return ``refused`` in the words of the protocol, with a body even if it was a HEAD.

        The plane has refused before the dialect was asked, or could not go on before the first
        byte: a head that is none, a method, too many connections, a fill that failed. Never waits.
        """
        ...


def spoken(reply: Reply, date: str, *, keep_alive: bool) -> bytes:
    """Return the head of ``reply``.

    Raises:
        ValueError: a field would end its line: nothing of such an answer may leave.
    """
    lines = [
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
        f"Date: {date}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name}: {value}" for name, value in reply.fields.items()),
    ]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a field of an answer has a line break in it")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
