"""What the lanes need of the memory that receives a model.

An arena holds the files of one model. Lanes write to it side by side, each byte once, or again
when its digest was wrong; nobody reads a byte before its chunk has been checked.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from cache_protocol.manifest import Manifest
from cache_protocol.ranges import Span


class Arena(Protocol):
    """The place of every file of one model. Safe for threads.

    ``file`` is the index of a file in the manifest's list for the model.
    """

    def room(self, file: int, span: Span) -> memoryview:
        """Return writable memory of exactly ``span.size`` bytes to receive ``span`` in.

        It is the byte's final place, or a buffer that belongs to the calling thread until its
        next call.
        """
        ...

    def store(self, file: int, span: Span, data: memoryview) -> None:
        """Bring ``data``, which ``room`` gave and which is now full, to its final place.

        Raises:
            CapacityError: the place turned out to be too small.
        """
        ...

    def read(self, file: int, span: Span) -> memoryview:
        """Return the bytes of ``span``, which are in place, of a file that is not confirmed yet.

        They stay good until the calling thread's next call.

        Raises:
            OSError: the place cannot be read.
        """
        ...

    def confirm(self, file: int) -> None:
        """Take note that every byte of ``file`` is in place and confirmed; called once."""
        ...

    def close(self) -> None:
        """Give up what was not confirmed. Memory that somebody still looks at stays valid."""
        ...


OpenArenas = Callable[[Manifest], Mapping[str, Arena]]
"""Make one arena per model, or raise CapacityError before the first byte."""
