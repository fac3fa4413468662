"""How long one question to an origin may take, and how much its answers may bring.

What a repository or a bucket holds is told page by page, by libraries that follow every "next"
and read every page to its end. An origin that always names a next page, or whose page has no end,
would hold a thread and fill the memory: so whoever moves their bytes asks here.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from cache_protocol.errors import MalformedError, OriginUnavailableError

LONGEST = 120.0  # seconds; 100 pages of a hub, which takes a second for a slow one
MOST = 256 * 2**20  # bytes of all answers
LARGEST = 32 * 2**20  # bytes of one; a hub names 100 000 files, with long names, in 10 MB
MAX_LISTED = 100_000  # files that one repository or prefix may list
T = TypeVar("T")


class Question:
    """One question, with all requests that it takes."""

    def __init__(self, endpoint: str | None) -> None:
        """Args: endpoint: the URL that is asked, and nobody else; None where many may be."""
        self.endpoint = endpoint
        self._until = time.monotonic() + LONGEST
        self._left = MOST

    def came(self, size: int, what: str) -> None:
        """Take note of ``size`` more bytes.

        Raises:
            OriginUnavailableError: the answers take too long.
            MalformedError: they are too large.
        """
        self._left -= size
        if self._left < 0:
            raise MalformedError(f"{what}: all answers are above {MOST} bytes; not read on")
        if time.monotonic() > self._until:
            raise OriginUnavailableError(f"{what}: the answer is not whole after {LONGEST:.0f} s")


_current: ContextVar[Question | None] = ContextVar("question", default=None)


@contextmanager
def asking(endpoint: str | None = None) -> Iterator[None]:
    """Make all requests of this thread inside the block parts of one question to ``endpoint``."""
    token = _current.set(Question(endpoint))
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Question:
    """Return the question that this thread asks; outside of any each request is one."""
    return _current.get() or Question(None)


def whole(pieces: Iterable[bytes], what: str) -> bytes:
    """Return one answer, which comes in ``pieces``.

    Raises:
        OriginUnavailableError: it takes too long.
        MalformedError: it is too large.
    """
    question, answer = current(), bytearray()
    for piece in pieces:
        question.came(len(piece), what)
        answer += piece
        if len(answer) > LARGEST:
            raise MalformedError(f"{what}: the answer is above {LARGEST} bytes; not read on")
    return bytes(answer)


def bounded(listed: Iterable[T]) -> Iterator[T]:
    """Yield what is ``listed`` as long as it is not too much.

    Raises:
        MalformedError: it is.
    """
    for count, each in enumerate(listed):
        if count == MAX_LISTED:
            raise MalformedError(f"the origin lists more than {MAX_LISTED} files")
        yield each
