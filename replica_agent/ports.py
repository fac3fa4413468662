"""What the lanes need of the memory that receives a model.

An arena holds the files of one model. Lanes write to it side by side, each byte once, or again
when its digest was wrong; nobody reads a byte before its chunk has been checked.

    room → bytes → store      per piece of a chunk, in order, by one thread
    accept                    the chunk's digest is the promised one
    confirm                   every chunk of a file was accepted, and the whole is confirmed
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from cache_protocol.manifest import Manifest
from cache_protocol.ranges import Span

HELD = 2  # chunks; a lane has so many requests under way, of one chunk each


class ArenaLostError(Exception):
    """The place has failed, and took its bytes along; in another one they would be safe.

    What the lanes and verdicts do with it: the transfer ends as replaced, and the pull opens
    arenas anew, which are elsewhere then.
    """


class Arena(Protocol):
    """The place of every file of one model. Safe for threads.

    ``file`` is the index of a file in the manifest's list for the model. Every method but
    ``close`` may raise ArenaLostError.
    """

    @property
    def in_place(self) -> bool:
        """Whether what is stored stays, even if nobody accepts it.

        Where it is False a thread holds at most HELD chunks between ``room`` and ``accept``;
        the one that it began first is forgotten when it begins another.
        """
        ...

    def room(self, file: int, span: Span) -> memoryview:
        """Return writable memory of exactly ``span.size`` bytes to receive ``span`` in.

        The span lies within one chunk. May wait until earlier chunks have left the memory.

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

    def accept(self, file: int, span: Span) -> None:
        """Take note that ``span``, a whole chunk, is what was promised.

        Where bytes are not in place yet, the thread that stored them calls this, and they are
        on their way when it returns.
        """
        ...

    def read(self, file: int, span: Span) -> memoryview:
        """Return the bytes of ``span``, which were accepted, of a file that is not confirmed yet.

        They stay good until the calling thread's next call.

        Raises:
            OSError: the place cannot be read, or keeps no more of the bytes than ranks want.
        """
        ...

    def confirm(self, file: int) -> None:
        """Return once every byte of ``file`` is in place; all are confirmed. Called once."""
        ...

    def close(self) -> None:
        """Give up what was not confirmed. Memory that somebody still looks at stays valid."""
        ...


OpenArenas = Callable[[Manifest], Mapping[str, Arena]]
"""Make one arena per model, or raise CapacityError before the first byte."""
