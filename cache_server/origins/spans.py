"""Cut exactly one span out of the bytes that an origin sends, however many and however slowly."""

import time
from collections.abc import Callable

from cache_protocol.errors import OriginUnavailableError
from cache_server.core.drip import Drip

_DISCARD = 2**20  # bytes per read while skipping to the place

Read = Callable[[memoryview], int]
"""Fill the front of a buffer with what is there, at least one byte; 0 at the end of the body."""


class SpanStream:
    """A ``ports.Stream`` over ``read``, whose errors are the adapter's own already."""

    def __init__(
        self,
        read: Read,
        size: int,
        *,
        skip: int = 0,
        what: str,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args: size and skip in bytes; what: for messages, says whose bytes these are."""
        self._source = read
        self._monotonic = monotonic
        self._drip = Drip()
        self._skip = skip  # bytes before the span, sent by an origin that ignored the range
        self._what = what
        self.left = size  # bytes of the span that have not come yet

    def readinto(self, into: memoryview, /) -> int:
        """Implement ``ports.Stream``."""
        if self._skip:
            self._discard()
        view = into[: self.left]
        if not view:
            return 0
        count = self._read(view)
        if count == 0:
            raise OriginUnavailableError(f"{self._what} ended {self.left} bytes early")
        self.left -= count
        return count

    def _read(self, into: memoryview) -> int:
        begun = self._monotonic()
        count = self._source(into)
        self._drip.came(count, self._monotonic() - begun, self._what)
        return count

    def _discard(self) -> None:
        scratch = memoryview(bytearray(min(self._skip, _DISCARD)))
        while self._skip:
            count = self._read(scratch[: self._skip])
            if count == 0:
                raise OriginUnavailableError(f"{self._what} ended before the range began")
            self._skip -= count
