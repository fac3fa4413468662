"""What the parts of the node promise each other. Each adapter implements one of these.

The words below are the contract; ``tests/contract/`` runs it against every adapter and fake.
Adapters know nothing of policy: they do not retry, reorder, cache or decide. They turn foreign
exceptions into the errors named here, at their edge.
"""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Protocol

from cache_protocol.ranges import Span
from cache_server.core.content import Listing, ModelSpec, OriginFile
from cache_server.core.tenants import Terms


class Stream(Protocol):
    """The bytes of one span, in order."""

    def readinto(self, into: memoryview, /) -> int:
        """Fill ``into`` from its front and return how many bytes came; 0 at the end of the span.

        Never returns more than the span holds, whatever the origin sends. Blocks at most for
        the adapter's own time limit.

        Raises:
            OriginUnavailableError: the stream broke, stalled, or ended early. Bytes already
                returned are good: the caller may go on from the next byte.
        """
        ...


class Origin(Protocol):
    """Where one model lives: a repository, a bucket prefix, a directory. Safe for threads."""

    def resolve(self) -> Listing:
        """Return what the origin holds now, at a revision that no longer moves.

        One attempt: the caller decides whether to try again.

        Raises:
            OriginNotFoundError: no such repository, revision, bucket or directory.
            OriginDeniedError: it is gated, private or forbidden.
            OriginUnavailableError: no answer, or one that asks to come back later
                (408, 429, 5xx); ``retry_after`` carries the origin's own wish.
            MalformedError: a name or link that must not be followed.
        """
        ...

    def check_access(self) -> None:
        """Ask whether it may still be read, at the price of one small request; one attempt.

        Where reading is the operator's own to grant, as of a bucket or a directory, nobody is
        asked.

        Raises:
            OriginDeniedError: it may not.
            OriginNotFoundError: it is not there, or it is not to be known that it is: a hub says
                this of what is private to others.
            OriginUnavailableError: no answer; that says nothing of the access.
        """
        ...

    def open(
        self, listing_revision: str, file: OriginFile, span: Span
    ) -> AbstractContextManager[Stream]:
        """Return the bytes of ``span`` of ``file`` as ``resolve`` announced it.

        ``span`` is not empty and lies within the file. Raises before the first byte what
        ``resolve`` raises, and OriginChangedError when the content is no longer the announced.
        """
        ...

    def close(self) -> None:
        """Give back connections. No call may be running."""
        ...


# Judges, again, whether it may be used on these terms: OriginDeniedError if not.
OpenOrigin = Callable[[ModelSpec, Terms], Origin]


class ReadableFile(Protocol):
    """One file of a generation as the data plane sees it, whole or still being filled."""

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        ...

    @property
    def etag(self) -> str:
        """A strong ETag, quotes included."""
        ...

    @property
    def ended(self) -> bool:
        """Whether it was cut off with its generation: it had been lent, see ``lend``."""
        ...

    def open(self) -> int:
        """Return a new read-only descriptor, which the caller closes.

        It stays readable when the generation is given up, unless the file was lent: see ``ended``.

        Raises:
            GenerationGoneError: it has been given up already.
        """
        ...

    def lend(self) -> int | None:
        """Return a new read-only descriptor for another process; None while there is no whole file.

        Only what is confirmed is lent. What was lent ends when the generation is given up: whoever
        still has it open reads nothing more, and its room on disk is free. Raises as ``open``.
        """
        ...

    def stream(self, span: Span, pause: Callable[[float], None]) -> Generator[memoryview] | None:
        """Return the bytes of ``span`` in order, if they are not on this node; None if they are.

        With None, which costs nothing, ``open`` and ``present_until`` lead to them. A piece
        stays good until the next one is asked for. The caller closes the generator, whatever
        happens; ``pause`` waits that many seconds, and raises to end it.

        Raises:
            CacheError: at a piece: the bytes do not come any more.
        """
        ...

    def failed(self, offset: int, error: Exception) -> None:
        """Take note that the disk did not give the byte at ``offset``; never waits.

        The node decides what that says about the disk, and has the chunk looked at.
        """
        ...

    def present_until(self, offset: int, timeout: float) -> int:
        """Wait until the byte at ``offset`` is there; return the end of the run of bytes from it.

        The chunk is marked as waited for, so that the fill brings it next. Costs no lock and no
        wait when the file is whole.

        Raises:
            CacheError: the fill failed; this is its own error.
            TimeoutError: ``timeout`` seconds passed.
        """
        ...

    def digests(self, chunks: range, timeout: float) -> bytes:
        """Wait until every chunk of ``chunks`` is there; return their digests, 16 bytes each.

        Raises as ``present_until`` does.
        """
        ...

    def verdict(self, timeout: float) -> bytes:
        """Wait until the whole file is confirmed; return the 48 bytes of ``digests.verdict``.

        Raises as ``present_until`` does.
        """
        ...

    def revalidate(self, chunk: int, timeout: float) -> None:
        """Check a chunk on disk against its digest, and pull it from the origin if it is wrong.

        Raises:
            IntegrityError: what the origin sends is not the promised bytes either.
            CacheError: as ``present_until``.
        """
        ...


class Shelf(Protocol):
    """All generations that this node can serve."""

    def find(self, generation: str, model: str, path: str) -> ReadableFile:
        """Return a file of a generation; a dictionary look-up, no I/O.

        Raises:
            GenerationGoneError: no such generation.
            FileNotFoundError: the generation has no such model or file.
        """
        ...
