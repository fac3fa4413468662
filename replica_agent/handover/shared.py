"""What the hand-over asks of the memory that it hands over, whichever kind of arena that is."""

from typing import NamedTuple, Protocol, runtime_checkable

from replica_agent.handover.messages import ShardWords


class SharedArena(Protocol):
    """A model in memory, or in a file, that another process can map."""

    @property
    def fd(self) -> int:
        """The descriptor; negative once it is closed."""
        ...

    @property
    def places(self) -> list[int]:
        """Where each file begins, in the order of the manifest, and where the last one ends."""
        ...

    def seal(self) -> None:
        """Keep everybody from writing to what is confirmed, while another thread may close it."""
        ...


class Lent(NamedTuple):
    """A rank's memory, as it is handed over."""

    words: ShardWords
    fd: int  # belongs to whoever asked


@runtime_checkable
class LaidOut(SharedArena, Protocol):
    """A model whose planned parameters are in the memory of each rank that has them.

    The arena's own memory has only what the ranks' plans keep: no one can load from it alone.
    """

    def shard(self, rank: int) -> Lent | None:
        """Return the memory of ``rank``; None when no plan is about that one.

        Raises:
            GenerationGoneError: the arena was closed.
            OSError: this process has no descriptor left.
        """
        ...
